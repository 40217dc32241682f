//! Whose fault a failed exchange with the app is: one pure decision over what hyper, the stream and the request's body saw.

use hawse_proto::codes::{self, Code};

use super::{sending::Sent, stream::Fate};
use crate::fault::{self, Fault};

/// What hyper said of the connection to the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The app's bytes are not HTTP, or too many.
    Invalid,
    /// Anything else.
    Broken,
}

impl From<&hyper::Error> for Said {
    fn from(error: &hyper::Error) -> Self {
        if error.is_parse() || error.is_parse_too_large() {
            Self::Invalid
        } else {
            Self::Broken
        }
    }
}

/// Why there is no answer.
pub(super) fn no_answer(said: Said, fate: &Fate, sent: &Sent) -> Fault {
    // The visitor's own body first: its failure makes hyper give up the connection, which then looks like the app's fault.
    if let Some(code) = sent.fault() {
        return Fault::new(code, "");
    }
    if fate.is_unread() {
        return Fault::new(&codes::APP_TIMED_OUT, "It did not read the request's body.");
    }
    if let Some(number) = fate.reset_code() {
        return reset(number);
    }
    match (said, fate.is_broken(), fate.is_ended()) {
        (Said::Invalid, _, _) => Fault::new(&codes::APP_INVALID, ""),
        (Said::Broken, true, _) => Fault::agent_lost("The connection to it broke before the app had answered."),
        (Said::Broken, false, true) => Fault::new(&codes::APP_CLOSED, ""),
        (Said::Broken, false, false) => Fault::new(&codes::APP_INVALID, "The connection to the app could not be used."),
    }
}

/// Why an answer's body ended before its end.
pub(super) fn cut_off(fate: &Fate) -> &'static Code {
    match fate.reset_code().and_then(fault::by_number) {
        _ if fate.is_unread() => &codes::APP_TIMED_OUT,
        Some(code) => code,
        None if fate.is_broken() => &codes::AGENT_LOST,
        None => &codes::APP_CLOSED,
    }
}

fn reset(number: u32) -> Fault {
    match fault::by_number(number) {
        Some(code) if code.number == codes::APP_REFUSED.number => Fault::new(code, "Is it running?").before_sending(),
        Some(code) => Fault::new(code, ""),
        None => Fault::agent_lost(format!("It gave the connection up (HAWSE-{number}).")),
    }
}

#[cfg(test)]
#[path = "tests/blame.rs"]
mod tests;
