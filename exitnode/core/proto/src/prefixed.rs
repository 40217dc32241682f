//! Length-delimited messages, taken apart as their bytes arrive. Used for frames (u32) and for stream openings (u16).
//!
//! Pure and incremental: any split of the same bytes gives the same messages, and no more memory is held than bytes have
//! arrived, whatever a length field claims. It knows nothing of what is inside a message.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The bytes are not messages of this protocol; the stream they came on is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LengthError {
    /// Longer than both sides have agreed on.
    #[error("a message of {claimed} bytes is longer than {max}")]
    TooLong {
        /// What the length field says, or what was to be sent.
        claimed: usize,
        /// The limit.
        max: usize,
    },
    /// No message of ours is empty; a peer that sends such ones would keep us busy for four bytes each.
    #[error("a message is empty")]
    Empty,
}

/// `length` as a prefix of `HEAD` bytes (big-endian), then the message.
///
/// # Errors
/// The message is empty or longer than `max`; nothing was written then.
pub(crate) fn put<const HEAD: usize>(message: &[u8], max: usize, out: &mut BytesMut) -> Result<(), LengthError> {
    check(message.len(), max)?;
    out.reserve(HEAD + message.len());
    out.put_uint(message.len() as u64, HEAD);
    out.put_slice(message);
    Ok(())
}

/// Takes messages with a length of `HEAD` bytes and at most `MAX` bytes out of a stream of bytes.
#[derive(Debug)]
pub struct Decoder<const HEAD: usize, const MAX: usize> {
    /// Prefix and message so far.
    held: BytesMut,
}

impl<const HEAD: usize, const MAX: usize> Default for Decoder<HEAD, MAX> {
    fn default() -> Self {
        Self { held: BytesMut::new() }
    }
}

impl<const HEAD: usize, const MAX: usize> Decoder<HEAD, MAX> {
    /// Takes bytes from `input` up to the end of one message, and returns that message if it is whole.
    ///
    /// `None` means that `input` was used up; call again with what comes next. What follows the message stays in `input`.
    ///
    /// # Errors
    /// The length is zero or over `MAX`. The decoder is of no use after it.
    pub fn next(&mut self, input: &mut impl Buf) -> Result<Option<Bytes>, LengthError> {
        self.take(HEAD, input);
        let Some(mut head) = self.held.get(..HEAD) else {
            return Ok(None);
        };
        let length = usize::try_from(head.get_uint(HEAD)).unwrap_or(usize::MAX);
        check(length, MAX)?;
        self.take(HEAD + length, input);
        if self.held.len() < HEAD + length {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.held).freeze();
        message.advance(HEAD);
        Ok(Some(message))
    }

    /// True between two messages: the stream may end here.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.held.is_empty()
    }

    /// Moves bytes from `input` until `total` bytes are held.
    fn take(&mut self, total: usize, input: &mut impl Buf) {
        let wanted = total.saturating_sub(self.held.len()).min(input.remaining());
        self.held.put(input.take(wanted));
    }
}

fn check(length: usize, max: usize) -> Result<(), LengthError> {
    match length {
        0 => Err(LengthError::Empty),
        claimed if claimed > max => Err(LengthError::TooLong { claimed, max }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
