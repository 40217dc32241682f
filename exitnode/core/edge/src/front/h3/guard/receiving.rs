//! What arrives on a stream: quinn's bytes, through the sieve.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h3::{
    error::Code,
    quic::{self, StreamErrorIncoming, StreamId},
};
use quinn::{ReadError, VarInt};

use super::{
    Ledger, lost, number,
    sieve::{Refusal, Sieve},
    streams::{Shared, count, stream_id},
};
use crate::limits;

/// What arrives on a stream.
pub(in crate::front::h3) struct Receiving {
    stream: quinn::RecvStream,
    /// What was read before, and not sifted yet.
    first: Bytes,
    sieve: Sieve,
    ledger: Arc<Ledger>,
    /// Bytes that the ledger knows this stream to keep.
    kept: usize,
    ended: bool,
    request: Option<Arc<Shared>>,
}

impl Receiving {
    /// Of a request, whose field sections have at most so many bytes.
    pub(super) fn request(
        stream: quinn::RecvStream,
        ledger: Arc<Ledger>,
        section_bytes: u64,
        request: Arc<Shared>,
    ) -> Self {
        Self::new(stream, ledger, Sieve::request(section_bytes), Some(request))
    }

    /// Of the control stream, of which `first` came with the type.
    pub(super) fn control(stream: quinn::RecvStream, first: Bytes, ledger: Arc<Ledger>) -> Self {
        let mut receiving = Self::new(stream, ledger, Sieve::control(limits::H3_CONTROL_FRAME_BYTES), None);
        receiving.first = first;
        receiving
    }

    fn new(stream: quinn::RecvStream, ledger: Arc<Ledger>, sieve: Sieve, request: Option<Arc<Shared>>) -> Self {
        Self {
            stream,
            first: Bytes::new(),
            sieve,
            ledger,
            kept: 0,
            ended: false,
            request,
        }
    }

    pub(super) fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
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
            Refusal::Truncated => (
                Code::H3_FRAME_ERROR,
                "a frame is not whole, or has another length than its content",
            ),
            Refusal::NoSettings => (
                Code::H3_MISSING_SETTINGS,
                "the control stream does not begin with SETTINGS",
            ),
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
                let Some(request) = &self.request else {
                    self.ledger
                        .close(Code::H3_CLOSED_CRITICAL_STREAM, b"the control stream was reset");
                    return lost(quinn::ConnectionError::LocallyClosed);
                };
                count(request, &self.ledger);
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
            let sifted = if self.first.is_empty() {
                let read = ready!(pin!(self.stream.read_chunk(usize::MAX, true)).poll(cx));
                match read {
                    Ok(Some(chunk)) => self.sieve.feed(chunk.bytes),
                    Ok(None) => {
                        self.ended = true;
                        self.sieve.end()
                    }
                    Err(error) => return Poll::Ready(Err(self.broken(error))),
                }
            } else {
                self.sieve.feed(std::mem::take(&mut self.first))
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
