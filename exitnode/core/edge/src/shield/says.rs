//! Cache-Status (RFC 9211): how the shield came by an answer.

use http::{HeaderMap, HeaderName, HeaderValue};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Hit,
    /// From the store, while it is asked for again.
    HitStale,
    /// Asked for on behalf of this visitor.
    Miss,
    /// On behalf of another who asked at the same time.
    Collapsed,
    /// The app said that what is stored still holds.
    Confirmed,
    /// The app failed; this is what it said before.
    StaleOnError,
    /// For this visitor alone.
    Bypass,
    /// Neither GET nor HEAD.
    Method,
}

impl Says {
    fn text(self) -> &'static str {
        match self {
            Self::Hit => "hawse; hit",
            Self::HitStale => "hawse; hit; detail=stale",
            Self::Miss => "hawse; fwd=miss",
            Self::Collapsed => "hawse; fwd=miss; collapsed",
            Self::Confirmed => "hawse; fwd=stale; fwd-status=304",
            Self::StaleOnError => "hawse; fwd=stale; detail=error",
            Self::Bypass => "hawse; fwd=bypass",
            Self::Method => "hawse; fwd=method",
        }
    }

    /// Last in the list: nearest to the visitor.
    pub(crate) fn put(self, fields: &mut HeaderMap) {
        fields.append(CACHE_STATUS, HeaderValue::from_static(self.text()));
    }
}
