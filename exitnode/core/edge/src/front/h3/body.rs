//! The body of a request over HTTP/3, as the stack wants it. Says what h3 doesn't: whether there is one, and whether it has the
//! length that Content-Length names.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use h3::server::RequestStream;
use hawse_proto::codes;
use http::{HeaderMap, Method, Request, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::guard::Receiving;
use crate::{
    body::{self, Body, BoxError},
    fault::BodyFault,
};

/// The body that follows `head`. An app must not be told of a body that isn't there, and HTTP/3 says so only by the stream's
/// end: where none is expected, that is waited for, `patience` at most. `None`: there is one where Content-Length says none.
/// Not cancel safe: dropping it drops the stream, whose request is given up.
pub(super) async fn after(
    stream: RequestStream<Receiving, Bytes>,
    head: &Request<()>,
    patience: Duration,
) -> Option<Body> {
    let declared = content_length(head.headers());
    let mut body = Incoming {
        stream,
        state: State::Data,
        declared,
        received: 0,
        first: None,
        last: None,
        trailers: None,
    };
    if expects_none(head.method(), declared) {
        match timeout(patience, body.frame()).await {
            Ok(None) => return Some(body::empty()),
            // An app that is told of no body takes none: nobody would see what is wrong with it.
            Ok(Some(_)) if declared == Some(0) => return None,
            Ok(frame) => body.first = frame,
            Err(_) => {}
        }
    }
    Some(body.boxed_unsync())
}

/// `None` also if it stands twice or is no number: such requests are refused before their body is read.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn expects_none(method: &Method, declared: Option<u64>) -> bool {
    let usually_without = matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::DELETE | Method::CONNECT
    );
    declared == Some(0) || (declared.is_none() && usually_without)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    /// Nothing more arrives; `last` and `trailers` may be left to hand out.
    Ended,
    Broken,
}

struct Incoming {
    stream: RequestStream<Receiving, Bytes>,
    state: State,
    declared: Option<u64>,
    received: u64,
    first: Option<Result<Frame<Bytes>, BoxError>>,
    /// The piece that completes the declared length: held until the end is seen, so that what is too long is refused, not cut.
    last: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Incoming {
    /// Reads until there is a piece to hand out (`Some`), or the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BoxError>> {
        while self.state == State::Data {
            let Some(mut data) = ready!(self.stream.poll_recv_data(cx)).map_err(BoxError::from)? else {
                self.state = State::Trailers;
                break;
            };
            let piece = data.copy_to_bytes(data.remaining());
            self.received += piece.len() as u64;
            match self.declared {
                Some(declared) if self.received > declared => return Poll::Ready(Err(wrong_length())),
                Some(declared) if self.received == declared => self.last = Some(piece),
                _ => return Poll::Ready(Ok(Some(piece))),
            }
        }
        if self.state == State::Trailers {
            self.trailers = ready!(self.stream.poll_recv_trailers(cx)).map_err(BoxError::from)?;
            if self.declared.is_some_and(|declared| declared != self.received) {
                return Poll::Ready(Err(wrong_length()));
            }
            self.state = State::Ended;
        }
        Poll::Ready(Ok(self.last.take()))
    }
}

fn wrong_length() -> BoxError {
    BodyFault(&codes::BAD_REQUEST).into()
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        if let Some(first) = me.first.take() {
            return Poll::Ready(Some(first));
        }
        if me.state == State::Broken {
            return Poll::Ready(None);
        }
        match ready!(me.poll_piece(cx)) {
            Ok(Some(piece)) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            Ok(None) => Poll::Ready(me.trailers.take().map(|fields| Ok(Frame::trailers(fields)))),
            Err(error) => {
                me.state = State::Broken;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let over = matches!(self.state, State::Ended | State::Broken);
        over && self.first.is_none() && self.last.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (self.declared, &self.first) {
            (Some(declared), None) => {
                let held = self.last.as_ref().map_or(0, |last| last.len() as u64);
                SizeHint::with_exact(declared.saturating_sub(self.received - held))
            }
            _ => SizeHint::default(),
        }
    }
}
