//! Frames on a link's control stream: a 4-byte big-endian length and a serialised `frames::Frame`.
//!
//! What a frame means is decided in Python; here it is only made sure that it is one. The tunnel's control stream is the
//! one caller.

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::frames::Frame;
use crate::limits::FRAME_MAX_BYTES;
use crate::prefixed::{self, LengthError};

/// Takes frames out of the control stream.
pub type FrameDecoder = prefixed::Decoder<4, FRAME_MAX_BYTES>;

/// Why something is not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Its length.
    #[error("not a frame: {0}")]
    Length(#[from] LengthError),
    /// Its content.
    #[error("not a frame: {0}")]
    Content(#[from] prost::DecodeError),
}

/// Adds one serialised frame to `out`.
///
/// # Errors
/// `frame` is no `frames::Frame`, empty, or longer than `FRAME_MAX_BYTES`; nothing was written then.
pub fn put(frame: &[u8], out: &mut BytesMut) -> Result<(), FrameError> {
    Frame::decode(frame)?;
    Ok(prefixed::put::<4>(frame, FRAME_MAX_BYTES, out)?)
}

/// The next frame of `input`, checked: see [`prefixed::Decoder::next`]. A frame of a kind that we don't know passes: a
/// newer peer may send it, and Python ignores it.
///
/// # Errors
/// The bytes are not frames; the decoder is of no use after it.
pub fn next(decoder: &mut FrameDecoder, input: &mut Bytes) -> Result<Option<Bytes>, FrameError> {
    let Some(frame) = decoder.next(input)? else {
        return Ok(None);
    };
    Frame::decode(frame.clone())?;
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Hello, Welcome, frame};
    use proptest::prelude::*;

    fn hello() -> Vec<u8> {
        let hello = Hello {
            min_version: 1,
            max_version: 1,
            slot: "eu-west".into(),
            epoch: 7,
            ..Hello::default()
        };
        Frame {
            frame: Some(frame::Frame::Hello(hello)),
        }
        .encode_to_vec()
    }

    #[test]
    fn the_bytes_of_a_frame_are_what_version_1_says() {
        let mut out = BytesMut::new();
        put(&hello(), &mut out).unwrap();
        assert_eq!(&out[..], b"\0\0\0\x11\x0a\x0f\x08\x01\x10\x01\x2a\x07eu-west\x30\x07");
    }

    #[test]
    fn a_frame_of_an_unknown_kind_passes() {
        let mut out = BytesMut::new();
        put(&[0xfa, 0x01, 0], &mut out).unwrap();
        let mut input = out.freeze();
        assert_eq!(
            next(&mut FrameDecoder::default(), &mut input),
            Ok(Some(Bytes::from_static(&[0xfa, 0x01, 0])))
        );
    }

    #[test]
    fn bytes_that_are_no_message_are_refused_by_both_sides() {
        assert!(matches!(
            put(&[0xff], &mut BytesMut::new()),
            Err(FrameError::Content(_))
        ));
        let mut input = Bytes::from_static(&[0, 0, 0, 1, 0xff]);
        assert!(matches!(
            next(&mut FrameDecoder::default(), &mut input),
            Err(FrameError::Content(_))
        ));
    }

    #[test]
    fn a_frame_over_64_kib_is_refused_before_its_bytes_arrive() {
        let mut input = Bytes::from_static(&[0, 1, 0, 1]);
        let error = next(&mut FrameDecoder::default(), &mut input).unwrap_err();
        assert_eq!(
            error,
            FrameError::Length(LengthError::TooLong {
                claimed: 65_537,
                max: 65_536
            })
        );
    }

    proptest! {
        #[test]
        fn what_is_put_comes_out(node_version in ".{0,200}", version in any::<u32>()) {
            let welcome = Welcome { version, node_version, ..Welcome::default() };
            let sent = Frame { frame: Some(frame::Frame::Welcome(welcome)) };
            let mut out = BytesMut::new();
            put(&sent.encode_to_vec(), &mut out).unwrap();
            let received = next(&mut FrameDecoder::default(), &mut out.freeze()).unwrap().unwrap();
            prop_assert_eq!(Frame::decode(received).unwrap(), sent);
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (mut decoder, mut input) = (FrameDecoder::default(), Bytes::from(bytes));
            while let Ok(Some(frame)) = next(&mut decoder, &mut input) {
                prop_assert!(!frame.is_empty());
            }
        }
    }
}
