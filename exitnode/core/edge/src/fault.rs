//! Why a request gets an answer of the edge instead of the app's: one HAWSE code and a sentence.
//!
//! Made by the layers and the upstream; `respond.rs` alone turns it into a page. A fault never holds bytes of the request.

use std::{borrow::Cow, time::Duration};

use hawse_proto::codes::{self, Code};
use http::HeaderValue;

use crate::body::BoxError;

/// One refusal or failure. Cheap to make; carried as the error of every layer.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) code: &'static Code,
    /// What to know beyond the code's title, and what to do. For people; may be empty.
    pub(crate) detail: Cow<'static, str>,
    /// For Retry-After; only sent with 503 and 401.
    pub(crate) retry_after: Option<Duration>,
    /// The app has certainly seen nothing of the request: whoever has another app may send it there.
    pub(crate) nothing_sent: bool,
    /// For WWW-Authenticate; with 401.
    pub(crate) challenges: Vec<HeaderValue>,
}

impl Fault {
    pub(crate) fn new(code: &'static Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            retry_after: None,
            nothing_sent: false,
            challenges: Vec::new(),
        }
    }

    pub(crate) fn retry_after(self, after: Duration) -> Self {
        Self {
            retry_after: Some(after),
            ..self
        }
    }

    pub(crate) fn challenge(self, challenges: Vec<HeaderValue>) -> Self {
        Self { challenges, ..self }
    }

    pub(crate) fn before_sending(self) -> Self {
        Self {
            nothing_sent: true,
            ..self
        }
    }

    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(&codes::BAD_REQUEST, detail)
    }

    pub(crate) fn agent_lost(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(&codes::AGENT_LOST, detail)
    }
}

/// `HAWSE-1003`.
pub(crate) fn text(code: &Code) -> String {
    format!("HAWSE-{}", code.number)
}

/// The code with this number that the edge may answer with.
pub(crate) fn by_number(number: u32) -> Option<&'static Code> {
    codes::ALL.iter().find(|code| code.number == number && code.status != 0)
}

/// The code called `HAWSE-1003` that the edge may answer with.
pub(crate) fn by_text(name: &str) -> Option<&'static Code> {
    by_number(name.strip_prefix("HAWSE-")?.parse().ok()?)
}

/// A body that ended before its end; the visitor's transfer breaks, and the counters name the code.
#[derive(Debug, thiserror::Error)]
#[error("HAWSE-{}: {}", .0.number, .0.title)]
pub(crate) struct BodyFault(pub(crate) &'static Code);

/// The code of a [`BodyFault`] anywhere in the chain of causes.
pub(crate) fn code_of(error: &BoxError) -> Option<&'static Code> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    while let Some(error) = next {
        if let Some(BodyFault(code)) = error.downcast_ref::<BodyFault>() {
            return Some(code);
        }
        next = error.source();
    }
    None
}
