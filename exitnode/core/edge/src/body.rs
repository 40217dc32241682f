//! The one type of body, in both directions. Layers that watch a body wrap it and box it again.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};

/// What ends a body early.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body of a request or an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// No bytes at all.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// These bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// What hyper reads from a connection.
pub(crate) fn incoming(body: hyper::body::Incoming) -> Body {
    body.map_err(BoxError::from).boxed_unsync()
}
