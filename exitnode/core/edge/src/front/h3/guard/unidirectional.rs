//! Unidirectional streams of a visitor, told apart by their type (RFC 9114, 6.2): h3 gets to see the control stream alone.
//!
//! h3 0.0.8 stores QPACK's two streams and never reads them, so that it notices neither their end nor what they say; and it
//! keeps a slot for every stream of an unknown type for as long as the connection lives. The edge offers no dynamic table:
//! whatever would change one is an error. Polled by mod.rs whenever h3 asks for the next stream.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h3::error::Code;
use quinn::{ConnectionError, ReadError, RecvStream};

use super::{
    Ledger, Receiving, Waiting, number, poll,
    sieve::{CONTROL_STREAM, varint},
};
use crate::limits;

/// Types of streams (RFC 9114, 11.2.4; RFC 9204, 8.2).
const CONTROL: u64 = CONTROL_STREAM as u64;
const PUSH: u64 = 0x1;
const ENCODER: u64 = 0x2;
const DECODER: u64 = 0x3;
/// Bytes read at once of a stream whose type is not known: what follows is read by whose it is.
const TYPE_READ_BYTES: usize = 64;

/// See the module.
pub(super) struct Unidirectional {
    quic: quinn::Connection,
    ledger: Arc<Ledger>,
    accepting: Option<Waiting<RecvStream>>,
    /// Streams whose type has not come: quinn lets no more than `H3_UNI_STREAMS` be open.
    untyped: Vec<Untyped>,
    /// At most one of each kind.
    qpack: Vec<Qpack>,
    /// Streams so far: three are the protocol's.
    seen: u32,
}

impl Unidirectional {
    pub(super) fn new(quic: quinn::Connection, ledger: Arc<Ledger>) -> Self {
        Self {
            quic,
            ledger,
            accepting: None,
            untyped: Vec::new(),
            qpack: Vec::new(),
            seen: 0,
        }
    }

    /// The next control stream: a second one is h3's to refuse. An error: the connection is lost, or was closed here.
    pub(super) fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<Result<Receiving, ConnectionError>> {
        self.accept(cx)?;
        let mut at = 0;
        while let Some(untyped) = self.untyped.get_mut(at) {
            let Poll::Ready(known) = untyped.poll(cx) else {
                at += 1;
                continue;
            };
            let stream = self.untyped.swap_remove(at).stream;
            // Without a type it may end as it likes.
            let Some((kind, rest)) = known? else { continue };
            if kind == CONTROL {
                return Poll::Ready(Ok(Receiving::control(stream, rest, self.ledger.clone())));
            }
            self.keep(kind, stream, &rest)?;
        }
        self.read_qpack(cx)?;
        Poll::Pending
    }

    fn accept(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        loop {
            let quic = self.quic.clone();
            let accept = || -> Waiting<_> { Box::pin(async move { quic.accept_uni().await }) };
            let Poll::Ready(stream) = poll(&mut self.accepting, accept, cx) else {
                return Ok(());
            };
            self.untyped.push(Untyped {
                stream: stream?,
                have: Vec::new(),
            });
            self.seen = self.seen.saturating_add(1);
            if self.seen > limits::H3_UNI_STREAMS {
                self.ledger.waste(1);
            }
        }
    }

    /// A stream of another type than the control stream's; `rest` came with the type.
    fn keep(&mut self, kind: u64, mut stream: RecvStream, rest: &[u8]) -> Result<(), ConnectionError> {
        let said = match kind {
            PUSH => return Err(self.close(Code::H3_STREAM_CREATION_ERROR, "only servers push")),
            ENCODER => Said::ByEncoder,
            DECODER => Said::ByDecoder { within: false },
            _ => {
                let _ = stream.stop(number(Code::H3_STREAM_CREATION_ERROR));
                return Ok(());
            }
        };
        if self.qpack.iter().any(|other| other.said.is_of(&said)) {
            return Err(self.close(Code::H3_STREAM_CREATION_ERROR, "a second stream of QPACK"));
        }
        let mut qpack = Qpack { stream, said };
        let heard = qpack.said.hear(rest);
        self.qpack.push(qpack);
        heard.map_err(|code| self.close(code, "QPACK without a dynamic table"))
    }

    fn read_qpack(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        let mut heard = Ok(());
        for Qpack { stream, said } in &mut self.qpack {
            while let (Ok(()), Poll::Ready(read)) = (heard, pin!(stream.read_chunk(usize::MAX, true)).poll(cx)) {
                heard = match read {
                    Ok(Some(chunk)) => said.hear(&chunk.bytes),
                    Err(ReadError::ConnectionLost(error)) => return Err(error),
                    Ok(None) | Err(_) => Err(Code::H3_CLOSED_CRITICAL_STREAM),
                };
            }
        }
        heard.map_err(|code| self.close(code, "QPACK's streams stay open, and change no dynamic table"))
    }

    fn close(&self, code: Code, reason: &str) -> ConnectionError {
        self.ledger.close(code, reason.as_bytes());
        ConnectionError::LocallyClosed
    }
}

/// A stream before its type.
struct Untyped {
    stream: RecvStream,
    have: Vec<u8>,
}

impl Untyped {
    /// Its type, and what came behind it. `None`: it ended before.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(u64, Bytes)>, ConnectionError>> {
        loop {
            if let Some((kind, size)) = varint(&self.have) {
                let rest = Bytes::from(std::mem::take(&mut self.have)).slice(size..);
                return Poll::Ready(Ok(Some((kind, rest))));
            }
            match std::task::ready!(pin!(self.stream.read_chunk(TYPE_READ_BYTES, true)).poll(cx)) {
                Ok(Some(chunk)) => self.have.extend_from_slice(&chunk.bytes),
                Err(ReadError::ConnectionLost(error)) => return Poll::Ready(Err(error)),
                Ok(None) | Err(_) => return Poll::Ready(Ok(None)),
            }
        }
    }
}

/// One of QPACK's two streams.
struct Qpack {
    stream: RecvStream,
    said: Said,
}

/// What may be said on it where there is no dynamic table (RFC 9204, 4.3 and 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    ByEncoder,
    /// Within an integer, or before an instruction.
    ByDecoder {
        within: bool,
    },
}

impl Said {
    fn is_of(self, other: &Self) -> bool {
        matches!(self, Self::ByEncoder) == matches!(other, Self::ByEncoder)
    }

    /// An encoder may say that its table has no room; a decoder, that it gave up a stream. Nothing else has a meaning.
    fn hear(&mut self, bytes: &[u8]) -> Result<(), Code> {
        /// Set Dynamic Table Capacity, to 0.
        const NO_ROOM: u8 = 0x20;
        match self {
            Self::ByEncoder if bytes.iter().any(|byte| *byte != NO_ROOM) => Err(Code::QPACK_ENCODER_STREAM_ERROR),
            Self::ByEncoder => Ok(()),
            Self::ByDecoder { within } => {
                for byte in bytes {
                    *within = match (*within, byte >> 6) {
                        (true, _) => byte & 0x80 != 0,
                        // Stream Cancellation: 01, and six bits of an integer.
                        (false, 0b01) => byte & 0x3f == 0x3f,
                        (false, _) => return Err(Code::QPACK_DECODER_STREAM_ERROR),
                    };
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DECODER: Said = Said::ByDecoder { within: false };

    #[test]
    fn only_what_changes_no_table_may_be_said() {
        let (encoder, decoder) = (Code::QPACK_ENCODER_STREAM_ERROR, Code::QPACK_DECODER_STREAM_ERROR);
        for (mut said, bytes, outcome) in [
            (Said::ByEncoder, &b""[..], Ok(())),
            (Said::ByEncoder, b"\x20\x20", Ok(())),
            (Said::ByEncoder, b"\x20\x3f\xe1\x1f", Err(encoder)), // 4096 bytes of room
            (Said::ByEncoder, b"\x41a\x01b", Err(encoder)),       // an insertion
            (Said::ByEncoder, b"\x00", Err(encoder)),             // a duplicate
            (DECODER, b"\x44\x48", Ok(())),                       // streams 4 and 8 were given up
            (DECODER, b"\x7f\x85\x01\x44", Ok(())),               // stream 196, then 4
            (DECODER, b"\x01", Err(decoder)),                     // an increment
            (DECODER, b"\x44\x84", Err(decoder)),                 // an acknowledgement
        ] {
            assert_eq!(said.hear(bytes), outcome, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_is_judged_alike(bytes: Vec<u8>, at: prop::sample::Index) {
            for said in [Said::ByEncoder, DECODER] {
                let (mut whole, mut parts) = (said, said);
                let (first, second) = bytes.split_at(at.index(bytes.len() + 1));
                let outcome = parts.hear(first).and_then(|()| parts.hear(second));
                prop_assert_eq!(whole.hear(&bytes), outcome);
            }
        }
    }
}
