//! The guard: what h3 reads and writes passes through types of ours, which bound what h3 does not.
//!
//! h3 is generic over its QUIC transport, so this is a transport over quinn. Not h3-quinn's: that one hides the streams'
//! STOP_SENDING, ends a dropped answer as if it were whole, and allocates for each read. One file a concern: sieve (frames of
//! a stream), fields (field sections), ledger (cost of a connection), unidirectional (which of those streams are h3's), receiving,
//! sending, streams (h3's traits on quinn's).

mod fields;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod ledger;
mod receiving;
mod sending;
mod sieve;
mod streams;
mod unidirectional;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h3::{
    error::Code,
    quic::{self, ConnectionErrorIncoming, StreamErrorIncoming},
};
use quinn::{ConnectionError, VarInt};

pub(super) use self::{
    ledger::Ledger,
    receiving::Receiving,
    sending::Sending,
    streams::{Left, RequestStream, Watch},
};
use unidirectional::Unidirectional;
/// A future of quinn that outlives one poll.
type Waiting<T> = Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send>>;

/// One connection, as h3 sees it.
pub(super) struct Guarded {
    quic: quinn::Connection,
    ledger: Arc<Ledger>,
    /// Bytes of one field section.
    section_bytes: u64,
    requests: Option<Waiting<(quinn::SendStream, quinn::RecvStream)>>,
    others: Unidirectional,
    opening: Option<Waiting<quinn::SendStream>>,
}

impl Guarded {
    pub(super) fn new(quic: quinn::Connection, ledger: Arc<Ledger>, section_bytes: u64) -> Self {
        Self {
            others: Unidirectional::new(quic.clone(), ledger.clone()),
            quic,
            ledger,
            section_bytes,
            requests: None,
            opening: None,
        }
    }
}

/// Polls the future in `slot`, which is made when there is none.
fn poll<T>(
    slot: &mut Option<Waiting<T>>,
    make: impl FnOnce() -> Waiting<T>,
    cx: &mut Context<'_>,
) -> Poll<Result<T, ConnectionError>> {
    let outcome = ready!(slot.get_or_insert_with(make).as_mut().poll(cx));
    *slot = None;
    Poll::Ready(outcome)
}

impl quic::Connection<Bytes> for Guarded {
    type RecvStream = Receiving;
    type OpenStreams = Closer;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Receiving, ConnectionErrorIncoming>> {
        self.others.poll_control(cx).map_err(connection_error)
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<RequestStream, ConnectionErrorIncoming>> {
        let quic = self.quic.clone();
        let accept = || -> Waiting<_> { Box::pin(async move { quic.accept_bi().await }) };
        let halves = ready!(poll(&mut self.requests, accept, cx)).map_err(connection_error)?;
        let stream = RequestStream::new(halves, &self.ledger, self.section_bytes);
        Poll::Ready(Ok(stream))
    }

    fn opener(&self) -> Closer {
        Closer(self.quic.clone())
    }
}

impl quic::OpenStreams<Bytes> for Guarded {
    type BidiStream = RequestStream;
    type SendStream = Sending;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<RequestStream, StreamErrorIncoming>> {
        Poll::Ready(Err(servers_never_open()))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Sending, StreamErrorIncoming>> {
        let quic = self.quic.clone();
        let open = || -> Waiting<_> { Box::pin(async move { quic.open_uni().await }) };
        let stream = ready!(poll(&mut self.opening, open, cx)).map_err(lost)?;
        Poll::Ready(Ok(Sending::new(stream, None)))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.quic.close(number(code), reason);
    }
}

/// h3 wants a way to open streams from elsewhere; servers need none, but close through it.
pub(super) struct Closer(quinn::Connection);

impl quic::OpenStreams<Bytes> for Closer {
    type BidiStream = RequestStream;
    type SendStream = Sending;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<RequestStream, StreamErrorIncoming>> {
        Poll::Ready(Err(servers_never_open()))
    }

    fn poll_open_send(&mut self, _: &mut Context<'_>) -> Poll<Result<Sending, StreamErrorIncoming>> {
        Poll::Ready(Err(servers_never_open()))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.0.close(number(code), reason);
    }
}

fn servers_never_open() -> StreamErrorIncoming {
    StreamErrorIncoming::Unknown("servers open no streams for requests or pushes".into())
}

fn number(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}

fn lost(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming {
        connection_error: connection_error(error),
    }
}

fn connection_error(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => ConnectionErrorIncoming::ApplicationClose {
            error_code: close.error_code.into(),
        },
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}
