//! Reads the frames of one stream as bytes pass, and lets only those reach h3 that it handles within bounds. Pure.
//!
//! h3 keeps every frame but DATA until it is whole, whatever length it declares; takes an empty DATA frame for the end of the
//! body; and doesn't see some malformed messages. So: a frame over its bound ends the connection before it is kept; frames
//! that carry nothing or that nobody knows are taken out; field sections are checked (fields.rs) once they are whole.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::fields::{self, Bad, Section};

/// Frame types (RFC 9114, 7.2 and 11.2.1).
const DATA: u64 = 0x0;
const HEADERS: u64 = 0x1;
const CANCEL_PUSH: u64 = 0x3;
const SETTINGS: u64 = 0x4;
const PUSH_PROMISE: u64 = 0x5;
const GOAWAY: u64 = 0x7;
const MAX_PUSH_ID: u64 = 0xd;
/// Type of the control stream.
pub(super) const CONTROL_STREAM: u8 = 0x0;
/// A type and a length, each at most 8 bytes.
const HEADER_BYTES: usize = 16;

/// Why a stream's bytes are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A frame is longer than its bound.
    TooLarge,
    /// A frame that may not stand there.
    Unexpected,
    /// The stream ended within a frame, or a frame has another length than its content.
    Truncated,
    /// The control stream begins with another frame.
    NoSettings,
    /// A field section that cannot be decoded without a dynamic table.
    Undecodable,
    /// A message that is malformed; only its stream ends.
    Malformed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Request,
    /// `true` once SETTINGS came.
    Control(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before or within a frame's type and length.
    Header,
    /// This many bytes of a payload pass.
    Pass(u64),
    /// This many bytes of a payload are taken out.
    Drop(u64),
    /// This many bytes of a payload are kept, until it is whole.
    Keep(u64),
}

/// See the module. One per stream.
#[derive(Debug)]
pub(super) struct Sieve {
    stream: Stream,
    state: State,
    most: u64,
    /// Type and length, while they arrive.
    header: [u8; HEADER_BYTES],
    have: usize,
    kind: u64,
    kept: BytesMut,
    /// Field sections seen whole: 1 the head, 2 the trailers.
    sections: u8,
    idle: u32,
    passed: VecDeque<Bytes>,
}

impl Sieve {
    /// For a request's stream; `most` bytes of one field section.
    pub(super) fn request(most: u64) -> Self {
        Self::new(Stream::Request, most)
    }

    /// For what follows the type of the control stream, which h3 gets to read first; `most` bytes of one frame.
    pub(super) fn control(most: u64) -> Self {
        let mut sieve = Self::new(Stream::Control(false), most);
        sieve.passed.push_back(Bytes::from_static(&[CONTROL_STREAM]));
        sieve
    }

    fn new(stream: Stream, most: u64) -> Self {
        Self {
            stream,
            state: State::Header,
            most,
            header: [0; HEADER_BYTES],
            have: 0,
            kind: 0,
            kept: BytesMut::new(),
            sections: 0,
            idle: 0,
            passed: VecDeque::new(),
        }
    }

    /// Takes what arrived. What may pass is given out by [`Sieve::next`].
    pub(super) fn feed(&mut self, mut bytes: Bytes) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            match self.state {
                State::Header => self.header_byte(bytes.get_u8())?,
                State::Pass(left) => {
                    let part = take(&mut bytes, left);
                    self.state = State::after(State::Pass, left, &part);
                    self.passed.push_back(part);
                }
                State::Drop(left) => {
                    let part = take(&mut bytes, left);
                    self.state = State::after(State::Drop, left, &part);
                }
                State::Keep(left) => {
                    let part = take(&mut bytes, left);
                    self.kept.extend_from_slice(&part);
                    self.state = State::after(State::Keep, left, &part);
                    if self.state == State::Header {
                        self.whole()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The visitor ended the stream.
    pub(super) fn end(&self) -> Result<(), Refusal> {
        let between_frames = self.state == State::Header && self.have == 0;
        between_frames.then_some(()).ok_or(Refusal::Truncated)
    }

    /// What may pass, in order.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        self.passed.pop_front()
    }

    /// Bytes that are kept until their frame is whole.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept.len()
    }

    /// Frames since the last call that cost work and carried nothing.
    pub(super) fn take_idle(&mut self) -> u32 {
        std::mem::take(&mut self.idle)
    }

    fn header_byte(&mut self, byte: u8) -> Result<(), Refusal> {
        if let Some(free) = self.header.get_mut(self.have) {
            *free = byte;
            self.have += 1;
        }
        let header = self.header.get(..self.have).unwrap_or_default();
        let Some((kind, size)) = varint(header) else {
            return Ok(());
        };
        let Some((length, _)) = varint(header.get(size..).unwrap_or_default()) else {
            return Ok(());
        };
        let header = Bytes::copy_from_slice(header);
        self.have = 0;
        self.frame(kind, length, header)
    }

    /// Decides on a frame whose type and length are known.
    fn frame(&mut self, kind: u64, length: u64, header: Bytes) -> Result<(), Refusal> {
        self.kind = kind;
        match (self.stream, kind) {
            (Stream::Request, DATA) if self.sections == 1 => {
                if length == 0 {
                    self.idle += 1;
                    return Ok(());
                }
                self.passed.push_back(header);
                self.state = State::Pass(length);
                Ok(())
            }
            (Stream::Request, HEADERS) if self.sections < 2 => self.keep(length, None),
            (Stream::Control(false), SETTINGS) => {
                self.stream = Stream::Control(true);
                self.keep(length, Some(&header))
            }
            (Stream::Control(false), _) => Err(Refusal::NoSettings),
            (Stream::Control(true), CANCEL_PUSH | GOAWAY | MAX_PUSH_ID) => {
                self.idle += 1;
                self.keep(length, Some(&header))
            }
            // 2, 6, 8 and 9 are frames of HTTP/2 that this one forbids.
            (_, DATA | HEADERS | CANCEL_PUSH | SETTINGS | PUSH_PROMISE | GOAWAY | MAX_PUSH_ID | 2 | 6 | 8 | 9) => {
                Err(Refusal::Unexpected)
            }
            _ => {
                self.idle += 1;
                self.state = if length == 0 {
                    State::Header
                } else {
                    State::Drop(length)
                };
                Ok(())
            }
        }
    }

    fn keep(&mut self, length: u64, header: Option<&[u8]>) -> Result<(), Refusal> {
        if length > self.most {
            return Err(Refusal::TooLarge);
        }
        self.kept.extend_from_slice(header.unwrap_or_default());
        if length == 0 {
            return self.whole();
        }
        self.state = State::Keep(length);
        Ok(())
    }

    /// A kept frame has arrived to its end.
    fn whole(&mut self) -> Result<(), Refusal> {
        let mut frame = self.kept.split();
        if self.kind != HEADERS {
            if self.kind != SETTINGS && !is_one_integer(&frame) {
                return Err(Refusal::Truncated);
            }
            self.passed.push_back(frame.freeze());
            return Ok(());
        }
        let section = if self.sections == 0 {
            Section::Head
        } else {
            Section::Trailers
        };
        self.sections += 1;
        let cut = fields::check(&frame, section).map_err(|bad| match bad {
            Bad::Undecodable => Refusal::Undecodable,
            Bad::Malformed => Refusal::Malformed,
        })?;
        if let Some(cut) = cut {
            let after = frame.split_off(cut.end);
            frame.truncate(cut.start);
            frame.unsplit(after);
        }
        self.passed.push_back(header_of(HEADERS, frame.len()));
        self.passed.push_back(frame.freeze());
        Ok(())
    }
}

impl State {
    fn after(state: impl Fn(u64) -> Self, left: u64, part: &Bytes) -> Self {
        match left - part.len() as u64 {
            0 => Self::Header,
            left => state(left),
        }
    }
}

fn take(bytes: &mut Bytes, left: u64) -> Bytes {
    let part = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    bytes.split_to(part)
}

/// Type, length and one integer: what every frame of a control stream but SETTINGS is.
fn is_one_integer(frame: &[u8]) -> bool {
    let mut rest = frame;
    for _ in 0..3 {
        let after = varint(rest).and_then(|(_, size)| rest.get(size..));
        let Some(after) = after else { return false };
        rest = after;
    }
    rest.is_empty()
}

/// A QUIC integer at the start of `bytes`, and how many bytes it takes; `None` if it is not whole.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let size = 1 << (first >> 6);
    let rest = bytes.get(1..size)?;
    let value = rest
        .iter()
        .fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, size))
}

/// Type and length of a frame, the length in 4 bytes.
fn header_of(kind: u64, length: usize) -> Bytes {
    let length = u32::try_from(length).unwrap_or(u32::MAX) | 0x8000_0000;
    let mut header = BytesMut::with_capacity(5);
    header.extend_from_slice(&[u8::try_from(kind).unwrap_or(u8::MAX)]);
    header.extend_from_slice(&length.to_be_bytes());
    header.freeze()
}

#[cfg(test)]
#[path = "../tests/sieve.rs"]
mod tests;
