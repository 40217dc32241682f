//! The halves of an HTTP/2 stream: capacity is asked for before bytes are queued, and given back once they were used.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use tokio::io::ReadBuf;
use tokio::sync::watch;

use super::{Connection, closing, driver};
use crate::transport::{self, Broken, End};

pub(super) fn pair(send: SendHalf, recv: RecvHalf) -> transport::Stream {
    (transport::SendHalf::Tcp(send), transport::RecvHalf::Tcp(recv))
}

#[derive(Debug)]
pub(crate) struct SendHalf(Sending);

#[derive(Debug)]
enum Sending {
    Stream(SendStream<Bytes>),
    /// The connection keeps it too, for its last words.
    Control(Connection),
}

impl SendHalf {
    pub(super) fn new(stream: SendStream<Bytes>) -> Self {
        Self(Sending::Stream(stream))
    }

    pub(super) fn control(connection: Connection) -> Self {
        Self(Sending::Control(connection))
    }

    /// Not cancel safe: part of it may be queued.
    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), Broken> {
        while !bytes.is_empty() {
            poll_fn(|cx| self.with(|stream| poll_send(stream, cx, bytes.len(), |size| bytes.split_to(size)))).await?;
        }
        Ok(())
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Broken>> {
        self.with(|stream| poll_send(stream, cx, bytes.len(), |size| Bytes::copy_from_slice(&bytes[..size])))
    }

    pub(crate) fn finish(&mut self) {
        // Empty trailers and not an empty DATA frame: h2 throws queued DATA away, its end with it, when both halves are
        // dropped right after, and the peer would take a whole request for a cut one.
        self.with(|stream| drop(stream.send_trailers(HeaderMap::new())));
    }

    pub(crate) fn reset(&mut self, code: u32) {
        // Below 1000 are HTTP/2's own reasons, and ours begin there.
        let reason = if code == 0 { Reason::CANCEL } else { code.into() };
        self.with(|stream| stream.send_reset(reason));
    }

    /// Cancel safe.
    pub(crate) async fn stopped(&mut self) -> u32 {
        let reset = poll_fn(|cx| self.with(|stream| stream.poll_reset(cx))).await;
        reset.map_or(0, number)
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut SendStream<Bytes>) -> R) -> R {
        match &mut self.0 {
            Sending::Stream(stream) => act(stream),
            Sending::Control(connection) => act(&mut connection.sending()),
        }
    }
}

/// Queues as much of `wanted` bytes as the peer's window and our buffer have room for; `take` makes them.
fn poll_send(
    stream: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    wanted: usize,
    take: impl FnOnce(usize) -> Bytes,
) -> Poll<Result<usize, Broken>> {
    stream.reserve_capacity(wanted);
    let mut room = stream.capacity();
    while room == 0 && wanted > 0 {
        room = match ready!(stream.poll_capacity(cx)) {
            Some(Ok(room)) => room,
            Some(Err(why)) => return Poll::Ready(Err(broken(&why))),
            None => return Poll::Ready(Err(given_up(stream, cx))),
        };
    }
    let size = room.min(wanted);
    let sent = stream.send_data(take(size), false);
    Poll::Ready(sent.map(|()| size).map_err(|_| given_up(stream, cx)))
}

/// Why a stream takes no more: the peer's reset, if there is one.
fn given_up(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Broken {
    match stream.poll_reset(cx) {
        Poll::Ready(Ok(reason)) => Broken::Given(number(reason)),
        Poll::Ready(Err(why)) => broken(&why),
        Poll::Pending => Broken::Lost("the stream was closed".to_owned()),
    }
}

#[derive(Debug)]
pub(crate) struct RecvHalf {
    state: Receiving,
    /// What was received and not copied yet.
    rest: Bytes,
    /// What was handed out and not given back yet: the window grows by it.
    owed: usize,
    /// Of the control stream: where the peer's last words go.
    end: Option<watch::Sender<Option<End>>>,
}

#[derive(Debug)]
enum Receiving {
    Answer(ResponseFuture),
    Body(RecvStream),
    Over,
}

impl RecvHalf {
    pub(super) fn answer(answer: ResponseFuture) -> Self {
        Self::new(Receiving::Answer(answer), None)
    }

    pub(super) fn body(body: RecvStream) -> Self {
        Self::new(Receiving::Body(body), None)
    }

    pub(super) fn control(body: RecvStream, end: watch::Sender<Option<End>>) -> Self {
        Self::new(Receiving::Body(body), Some(end))
    }

    fn new(state: Receiving, end: Option<watch::Sender<Option<End>>>) -> Self {
        Self {
            state,
            rest: Bytes::new(),
            owed: 0,
            end,
        }
    }

    /// Cancel safe.
    pub(crate) async fn read(&mut self) -> Result<Option<Bytes>, Broken> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<(), Broken>> {
        if self.rest.is_empty() {
            match ready!(self.poll_next(cx))? {
                Some(bytes) => {
                    self.owed = 0; // given back as it is copied
                    self.rest = bytes;
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let size = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest.split_to(size));
        self.give_back(size);
        Poll::Ready(Ok(()))
    }

    pub(crate) fn stop(&mut self) {
        self.state = Receiving::Over;
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        let owed = std::mem::take(&mut self.owed);
        self.give_back(owed);
        let outcome = loop {
            match &mut self.state {
                Receiving::Answer(answer) => match ready!(Pin::new(answer).poll(cx)) {
                    Ok(answer) => self.state = Receiving::Body(answer.into_body()),
                    Err(why) => break Err(broken(&why)),
                },
                Receiving::Body(body) => match ready!(body.poll_data(cx)) {
                    Some(Ok(bytes)) => {
                        self.owed = bytes.len();
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                    Some(Err(why)) if why.is_remote() && why.reason() == Some(Reason::NO_ERROR) => break Ok(None),
                    Some(Err(why)) => break Err(broken(&why)),
                    None => break ready!(self.poll_last_words(cx)),
                },
                Receiving::Over => return Poll::Ready(Ok(None)),
            }
        };
        if let (Some(end), Err(Broken::Lost(why))) = (&self.end, &outcome) {
            driver::set(end, End::Failed(why.clone()));
        }
        self.state = Receiving::Over;
        Poll::Ready(outcome)
    }

    /// The control stream ends with what the peer closes the connection with.
    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        if let (Some(end), Receiving::Body(body)) = (&self.end, &mut self.state)
            && let Ok(Some(trailers)) = ready!(body.poll_trailers(cx))
        {
            driver::set(end, closing::read(&trailers));
        }
        Poll::Ready(Ok(None))
    }

    fn give_back(&mut self, size: usize) {
        if let Receiving::Body(body) = &mut self.state
            && size > 0
        {
            let _ = body.flow_control().release_capacity(size); // an error: the stream is over
        }
    }
}

/// h2's errors in our words.
pub(super) fn broken(error: &h2::Error) -> Broken {
    match error.reason() {
        Some(reason) if error.is_reset() && error.is_remote() => Broken::Given(number(reason)),
        _ => Broken::Lost(error.to_string()),
    }
}

/// HTTP/2's own reasons are no HAWSE numbers.
fn number(reason: Reason) -> u32 {
    let code = u32::from(reason);
    if code < 1000 { 0 } else { code }
}
