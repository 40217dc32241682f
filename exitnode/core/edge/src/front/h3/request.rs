//! One request over HTTP/3: its head, the stack, the answer. Ends at once when the visitor wants no more of it.

use std::{future::poll_fn, sync::Arc, time::SystemTime};

use bytes::Bytes;
use h3::{
    error::Code,
    server::{RequestResolver, RequestStream},
};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    body,
    guard::{Guarded, Ledger, Left, Sending, Watch},
};
use crate::{
    body::Body,
    front::{Front, reader::OwedBody},
    limits,
    patience::{Clock, Stalling},
    stalls::Stalls,
    visit::{Arrival, Connection},
};

/// What a request's task needs.
pub(super) struct Asked {
    pub(super) front: Arc<Front>,
    pub(super) connection: Arc<Connection>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) watch: Watch,
}

impl Asked {
    /// Serves the request. True: its connection has had too many streams without one, and must end. Not cancel safe: dropping
    /// it resets the stream and gives the request up at the app.
    pub(super) async fn serve(mut self, resolver: RequestResolver<Guarded, Bytes>) -> bool {
        let header_timeout = self.front.limits.header_timeout;
        let Ok(Ok((request, stream))) = timeout(header_timeout, resolver.resolve_request()).await else {
            return self.ledger.came_in_vain();
        };
        let mark = self.watch.mark();
        let (sending, receiving) = stream.split();
        let answering = Box::pin(async {
            let Some(body) = body::after(receiving, &request, header_timeout).await else {
                mark.malformed();
                drop(sending);
                return None;
            };
            mark.answering();
            answer(&self.front, &self.connection, request.map(|()| body), sending).await
        });
        let stalls = self.front.shared.stalls.clone();
        let served = async {
            let sent = tokio::select! {
                biased;
                _ = self.watch.left() => None,
                sent = answering => sent,
            };
            let Some(mut sending) = sent else { return };
            if acknowledged(&mut self.watch, &self.front.tails).await {
                self.ledger.served();
            } else {
                sending.stop_stream(Code::H3_REQUEST_CANCELLED);
            }
        };
        Stalling::new(served, &stalls).await;
        false
    }
}

/// Waits until the visitor has all of an answer that is sent: a connection that is closed forgets the rest, and until then it
/// takes memory. False: it wants no more, is gone, or must make room.
async fn acknowledged(watch: &mut Watch, tails: &Stalls) -> bool {
    let sent = Instant::now();
    if let Ok(left) = timeout(limits::READER_NOTICED, watch.left()).await {
        return left == Left::WithAll;
    }
    let mut tail = tails.enter(sent);
    tokio::select! {
        left = watch.left() => left == Left::WithAll,
        () = poll_fn(|cx| tail.poll_cut(cx)) => false,
        () = sleep_until(sent + limits::READER_STALL) => false,
    }
}

/// Gives back what it was sent on, finished. `None`: it could not be sent whole; dropping `sending` says so to the visitor.
async fn answer(
    front: &Front,
    connection: &Arc<Connection>,
    request: Request<Body>,
    mut sending: RequestStream<Sending, Bytes>,
) -> Option<RequestStream<Sending, Bytes>> {
    let running = connection.begin();
    if expects_continue(&request) {
        let mut go_on = Response::new(());
        *go_on.status_mut() = StatusCode::CONTINUE;
        send_head(&mut sending, go_on).await?;
    }
    let arrival = Arrival {
        connection: connection.clone(),
        request_id: front.ids.next(),
        request,
    };
    let Ok(response) = front.stack.call(arrival).await;
    let (mut head, body) = response.into_parts();
    if let (false, Ok(now)) = (
        head.headers.contains_key(header::DATE),
        HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())),
    ) {
        head.headers.insert(header::DATE, now);
    }
    send_head(&mut sending, Response::from_parts(head, ())).await?;
    if !body.is_end_stream() {
        let mut body = OwedBody::new(body, running);
        while let Some(frame) = body.frame().await {
            match frame.ok()?.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => sending.send_data(data).await.ok()?,
                Err(frame) => {
                    if let Ok(fields) = frame.into_trailers() {
                        sending.send_trailers(fields).await.ok()?;
                    }
                }
            }
        }
    }
    sending.finish().await.ok()?;
    Some(sending)
}

/// Unlike in HTTP/2 a head needs room too: a visitor who gives none is waited for, and counts as one who stopped reading.
async fn send_head(sending: &mut RequestStream<Sending, Bytes>, head: Response<()>) -> Option<()> {
    let clock = Clock::of_task().unwrap_or_default();
    clock.owe(Some(0));
    let sent = sending.send_response(head).await;
    clock.owe(None);
    sent.ok()
}

fn expects_continue(request: &Request<Body>) -> bool {
    let expect = request.headers().get(header::EXPECT);
    !request.is_end_stream() && expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
