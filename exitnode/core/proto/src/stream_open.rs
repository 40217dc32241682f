//! The first bytes of every stream that an exit node opens: a 2-byte big-endian length and a serialised `StreamOpen`.
//!
//! After them the stream is raw bytes of one connection to the app. The tunnel's two ends are the callers.

use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

use crate::frames::{StreamOpen, stream_open::Kind};
use crate::limits::STREAM_OPEN_MAX_BYTES;
use crate::prefixed::{self, LengthError};

/// Takes the opening out of a new stream; what follows it stays in the input.
pub type OpenDecoder = prefixed::Decoder<2, STREAM_OPEN_MAX_BYTES>;

/// Why the first bytes of a stream are no opening.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its length.
    #[error("not a stream opening: {0}")]
    Length(#[from] LengthError),
    /// Its content.
    #[error("not a stream opening: {0}")]
    Content(#[from] prost::DecodeError),
    /// It names no tunnel.
    #[error("a stream opening without a tunnel")]
    NoTunnel,
    /// A kind of stream that this version does not know.
    #[error("a stream of the unknown kind {0}")]
    UnknownKind(i32),
}

/// The opening of a TCP stream to the app of `tunnel_uid`.
///
/// # Errors
/// The uid is empty, or so long that the opening would be over `STREAM_OPEN_MAX_BYTES`.
pub fn build(tunnel_uid: &str, visitor: SocketAddr) -> Result<Bytes, OpenError> {
    if tunnel_uid.is_empty() {
        return Err(OpenError::NoTunnel);
    }
    let open = StreamOpen {
        tunnel_uid: tunnel_uid.to_owned(),
        kind: Kind::Tcp.into(),
        visitor: visitor.to_string(),
    };
    let mut out = BytesMut::new();
    prefixed::put::<2>(&open.encode_to_vec(), STREAM_OPEN_MAX_BYTES, &mut out)?;
    Ok(out.freeze())
}

/// The opening of a stream that only asks whether the peer answers.
#[must_use]
pub const fn probe() -> Bytes {
    Bytes::from_static(b"\0\x02\x10\x02")
}

/// The opening, once it is whole: see [`prefixed::Decoder::next`].
///
/// # Errors
/// The bytes are no opening that this version understands.
pub fn next(decoder: &mut OpenDecoder, input: &mut impl Buf) -> Result<Option<StreamOpen>, OpenError> {
    let Some(message) = decoder.next(input)? else {
        return Ok(None);
    };
    let open = StreamOpen::decode(message)?;
    match Kind::try_from(open.kind) {
        Ok(Kind::Probe) => Ok(Some(open)),
        _ if open.tunnel_uid.is_empty() => Err(OpenError::NoTunnel),
        Ok(Kind::Tcp) => Ok(Some(open)),
        Ok(Kind::Unspecified) | Err(_) => Err(OpenError::UnknownKind(open.kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VISITOR: &str = "198.51.100.4:50000";

    fn read(bytes: &[u8]) -> Result<Option<StreamOpen>, OpenError> {
        next(&mut OpenDecoder::default(), &mut &bytes[..])
    }

    #[test]
    fn the_bytes_of_an_opening_are_what_version_1_says() {
        let bytes = build("uid-1", VISITOR.parse().unwrap()).unwrap();
        assert_eq!(&bytes[..], b"\0\x1d\x0a\x05uid-1\x10\x01\x1a\x12198.51.100.4:50000");
    }

    #[test]
    fn a_probe_is_an_opening_of_its_kind() {
        let open = StreamOpen {
            kind: Kind::Probe.into(),
            ..StreamOpen::default()
        };
        assert_eq!(read(&probe()), Ok(Some(open)));
    }

    #[test]
    fn an_opening_without_a_tunnel_is_refused_by_both_sides() {
        assert_eq!(build("", VISITOR.parse().unwrap()), Err(OpenError::NoTunnel));
        assert_eq!(read(&[0, 2, 0x10, 1]), Err(OpenError::NoTunnel));
    }

    #[test]
    fn a_kind_of_a_later_version_is_named() {
        assert_eq!(read(&[0, 5, 0x0a, 1, b'u', 0x10, 9]), Err(OpenError::UnknownKind(9)));
        assert_eq!(read(&[0, 3, 0x0a, 1, b'u']), Err(OpenError::UnknownKind(0)));
    }

    #[test]
    fn a_uid_that_does_not_fit_is_refused_before_it_is_sent() {
        assert!(matches!(
            build(&"u".repeat(4096), VISITOR.parse().unwrap()),
            Err(OpenError::Length(_))
        ));
    }

    proptest! {
        #[test]
        fn what_is_built_is_read_and_the_rest_is_left(uid in "[a-z0-9-]{1,64}", rest in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = [&build(&uid, VISITOR.parse().unwrap()).unwrap()[..], &rest].concat();
            let mut input = &bytes[..];
            let open = next(&mut OpenDecoder::default(), &mut input).unwrap().unwrap();
            prop_assert_eq!((open.tunnel_uid.as_str(), open.visitor.as_str()), (uid.as_str(), VISITOR));
            prop_assert_eq!(input, &rest[..]);
        }

        #[test]
        fn any_bytes_are_an_opening_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
