//! h3's stream traits on quinn's streams, with the sieve on what is read and an honest end on what is written.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h3::{
    error::Code,
    quic::{self, StreamErrorIncoming, StreamId, WriteBuf},
};
use quinn::{ReadError, VarInt, WriteError};

use super::{
    Ledger, lost, number,
    sieve::{Refusal, Sieve},
};
use crate::limits;

/// What both halves of a request's stream and its task know of it.
#[derive(Debug, Default)]
struct Shared {
    /// The request was taken up: an answer that is not finished must not look whole.
    answering: AtomicBool,
    /// The message is malformed.
    malformed: AtomicBool,
    /// A reset of the visitor was counted.
    counted: AtomicBool,
}

/// How the visitor's side of an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::front::h3) enum Left {
    /// The visitor has all of it.
    WithAll,
    /// The visitor wants no more of it.
    Cancelled,
    /// The connection is gone.
    Lost,
}

/// Tells a stream what its request has become.
pub(in crate::front::h3) struct Mark(Arc<Shared>);

impl Mark {
    /// From now on an answer is sent; what ends before its end is reset.
    pub(in crate::front::h3) fn answering(&self) {
        self.0.answering.store(true, Relaxed);
    }

    /// The message is malformed: what ends now is reset by H3_MESSAGE_ERROR.
    pub(in crate::front::h3) fn malformed(&self) {
        self.0.malformed.store(true, Relaxed);
    }
}

/// What the task of a request holds of its stream.
pub(in crate::front::h3) struct Watch {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    left: Pin<Box<dyn Future<Output = Left> + Send>>,
}

impl Watch {
    pub(in crate::front::h3) fn mark(&self) -> Mark {
        Mark(self.shared.clone())
    }

    /// Resolves when the visitor has the whole answer or wants no more of it. Cancel safe; not to be polled after the end.
    pub(in crate::front::h3) async fn left(&mut self) -> Left {
        let left = self.left.as_mut().await;
        if left == Left::Cancelled {
            count(&self.shared, &self.ledger);
        }
        left
    }
}

/// A visitor cancels a request by two frames; they count once.
fn count(shared: &Shared, ledger: &Ledger) {
    if !shared.counted.swap(true, Relaxed) {
        ledger.waste(1);
    }
}

/// A request's stream.
pub(in crate::front::h3) struct RequestStream {
    sending: Sending,
    receiving: Receiving,
}

impl RequestStream {
    pub(super) fn new(
        (send, recv): (quinn::SendStream, quinn::RecvStream),
        ledger: &Arc<Ledger>,
        section_bytes: u64,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        Self {
            sending: Sending {
                stream: send,
                writing: None,
                state: Written::Nothing,
                request: Some(shared.clone()),
            },
            receiving: Receiving {
                stream: recv,
                sieve: Sieve::request(section_bytes),
                ledger: ledger.clone(),
                kept: 0,
                ended: false,
                request: Some(shared),
            },
        }
    }

    /// Refuses the request unread: the visitor may send it elsewhere.
    pub(in crate::front::h3) fn reject(mut self) {
        use quic::{RecvStream as _, SendStream as _};
        self.receiving.stop_sending(Code::H3_REQUEST_REJECTED.value());
        self.sending.reset(Code::H3_REQUEST_REJECTED.value());
    }

    /// For the task that serves the request.
    pub(in crate::front::h3) fn watch(&self) -> Watch {
        let stopped = self.sending.stream.stopped();
        Watch {
            shared: self.sending.request.clone().unwrap_or_default(),
            ledger: self.receiving.ledger.clone(),
            left: Box::pin(async move {
                match stopped.await {
                    Ok(None) => Left::WithAll,
                    Ok(Some(_)) => Left::Cancelled,
                    Err(_) => Left::Lost,
                }
            }),
        }
    }
}

impl quic::BidiStream<Bytes> for RequestStream {
    type SendStream = Sending;
    type RecvStream = Receiving;

    fn split(self) -> (Sending, Receiving) {
        (self.sending, self.receiving)
    }
}

impl quic::RecvStream for RequestStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receiving.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.receiving.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.receiving.recv_id()
    }
}

impl quic::SendStream<Bytes> for RequestStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.sending.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.sending.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.sending.send_id()
    }
}

/// What arrives on a stream.
pub(in crate::front::h3) struct Receiving {
    stream: quinn::RecvStream,
    sieve: Sieve,
    ledger: Arc<Ledger>,
    /// Bytes that the ledger knows this stream to keep.
    kept: usize,
    ended: bool,
    request: Option<Arc<Shared>>,
}

impl Receiving {
    pub(super) fn unidirectional(stream: quinn::RecvStream, ledger: Arc<Ledger>) -> Self {
        Self {
            stream,
            sieve: Sieve::unidirectional(limits::H3_CONTROL_FRAME_BYTES),
            ledger,
            kept: 0,
            ended: false,
            request: None,
        }
    }

    fn settle(&mut self) {
        let idle = self.sieve.take_idle();
        if idle > 0 {
            self.ledger.waste(idle);
        }
        let kept = self.sieve.kept_bytes();
        if kept != self.kept {
            self.ledger.keep(self.kept, kept);
            self.kept = kept;
        }
    }

    fn refuse(&self, refusal: Refusal) -> StreamErrorIncoming {
        let (code, reason): (_, &'static str) = match refusal {
            Refusal::TooLarge => (Code::H3_EXCESSIVE_LOAD, "a frame is too large"),
            Refusal::Unexpected => (Code::H3_FRAME_UNEXPECTED, "a frame may not stand there"),
            Refusal::Truncated => (Code::H3_FRAME_ERROR, "the stream ended within a frame"),
            Refusal::Undecodable => (Code::QPACK_DECOMPRESSION_FAILED, "a field section cannot be decoded"),
            Refusal::Malformed => {
                if let Some(request) = &self.request {
                    request.malformed.store(true, Relaxed);
                }
                return StreamErrorIncoming::Unknown("the message is malformed".into());
            }
        };
        self.ledger.close(code, reason.as_bytes());
        lost(quinn::ConnectionError::LocallyClosed)
    }

    fn broken(&self, error: ReadError) -> StreamErrorIncoming {
        match error {
            ReadError::Reset(code) => {
                if let Some(request) = &self.request {
                    count(request, &self.ledger);
                }
                StreamErrorIncoming::StreamTerminated {
                    error_code: code.into_inner(),
                }
            }
            ReadError::ConnectionLost(error) => lost(error),
            error => StreamErrorIncoming::Unknown(error.into()),
        }
    }
}

impl quic::RecvStream for Receiving {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        loop {
            if let Some(bytes) = self.sieve.next() {
                return Poll::Ready(Ok(Some(bytes)));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            let read = ready!(pin!(self.stream.read_chunk(usize::MAX, true)).poll(cx));
            let sifted = match read {
                Ok(Some(chunk)) => self.sieve.feed(chunk.bytes),
                Ok(None) => {
                    self.ended = true;
                    self.sieve.end()
                }
                Err(error) => return Poll::Ready(Err(self.broken(error))),
            };
            self.settle();
            if let Err(refusal) = sifted {
                return Poll::Ready(Err(self.refuse(refusal)));
            }
        }
    }

    fn stop_sending(&mut self, error_code: u64) {
        let _ = self.stream.stop(VarInt::from_u64(error_code).unwrap_or(VarInt::MAX));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.ledger.keep(self.kept, 0);
        if !self.ended {
            let malformed = self
                .request
                .as_ref()
                .is_some_and(|request| request.malformed.load(Relaxed));
            let code = if malformed {
                Code::H3_MESSAGE_ERROR
            } else {
                Code::H3_NO_ERROR
            };
            let _ = self.stream.stop(number(code));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Nothing,
    Something,
    /// Finished or reset.
    Ended,
}

/// What is sent on a stream.
pub(in crate::front::h3) struct Sending {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    state: Written,
    request: Option<Arc<Shared>>,
}

impl Sending {
    pub(super) fn unidirectional(stream: quinn::SendStream) -> Self {
        Self {
            stream,
            writing: None,
            state: Written::Nothing,
            request: None,
        }
    }
}

impl quic::SendStream<Bytes> for Sending {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(data) = &mut self.writing {
            while data.has_remaining() {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data.chunk()));
                data.advance(written.map_err(unsent)?);
                self.state = Written::Something;
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            return Err(StreamErrorIncoming::Unknown("the last frame is not sent yet".into()));
        }
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.state = Written::Ended;
        Poll::Ready(
            self.stream
                .finish()
                .map_err(|error| StreamErrorIncoming::Unknown(error.into())),
        )
    }

    fn reset(&mut self, reset_code: u64) {
        self.state = Written::Ended;
        let _ = self.stream.reset(VarInt::from_u64(reset_code).unwrap_or(VarInt::MAX));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for Sending {
    /// quinn finishes a stream that is dropped: half an answer would look whole. h3 itself sends 431 and drops it unfinished.
    fn drop(&mut self) {
        let Some(request) = &self.request else { return };
        let code = match self.state {
            Written::Ended => return,
            _ if request.answering.load(Relaxed) => Code::H3_INTERNAL_ERROR,
            Written::Something => return,
            Written::Nothing if request.malformed.load(Relaxed) => Code::H3_MESSAGE_ERROR,
            Written::Nothing => Code::H3_REQUEST_INCOMPLETE,
        };
        let _ = self.stream.reset(number(code));
    }
}

fn unsent(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        WriteError::ConnectionLost(error) => lost(error),
        error => StreamErrorIncoming::Unknown(error.into()),
    }
}

#[expect(clippy::expect_used, reason = "both crates bound the number to 62 bits")]
fn stream_id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(u64::from(VarInt::from(id))).expect("a QUIC stream's id")
}
