//! Why there is no link, and why a link ended: QUIC's reasons in our words. Pure.
//!
//! A dial's faults are one class for each thing its caller can do (hawse_tunnel/errors.py has the same tree); the text
//! comes last and names the peer. Called by dial.rs, server.rs and link.rs.

use hawse_proto::codes::{self, Code};
use hawse_proto::core::LinkDown;
use quinn::ConnectionError;

use crate::identity::IdentityError;
use crate::link::Closing;

/// TLS alerts as QUIC carries them, RFC 9001 section 4.8.
const ALERT: u64 = 0x100;
const ALERT_LAST: u64 = 0x1ff;
/// RFC 8446 section 6.
const CERTIFICATE_EXPIRED: u64 = ALERT + 45;
/// RFC 7301 section 3.2.
const NO_APPLICATION_PROTOCOL: u64 = ALERT + 120;
/// RFC 9000 section 20.1.
const CONNECTION_REFUSED: u64 = 0x2;

/// Why there is no link to an exit node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialFault {
    /// The request is not usable.
    #[error("{0}")]
    Rejected(String),
    /// Nobody answered, or the network said no.
    #[error("{0}")]
    Unreachable(String),
    /// The exit node could not prove who it is.
    #[error("{0}")]
    Untrusted(String),
    /// No common version.
    #[error("{0}")]
    Version(String),
    /// Our certificate has expired.
    #[error("{0}")]
    Expired(String),
    /// Our certificate is not accepted.
    #[error("{0}")]
    Certificate(String),
}

impl DialFault {
    /// The stable code, if it has one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Rejected(_) => None,
            Self::Unreachable(_) => Some(codes::NO_EXIT_NODE),
            Self::Untrusted(_) => Some(codes::EXIT_NODE_UNTRUSTED),
            Self::Version(_) => Some(codes::VERSION_MISMATCH),
            Self::Expired(_) => Some(codes::CERTIFICATE_EXPIRED),
            Self::Certificate(_) => Some(codes::CERTIFICATE_REFUSED),
        }
    }
}

impl From<IdentityError> for DialFault {
    fn from(error: IdentityError) -> Self {
        Self::Rejected(error.to_string())
    }
}

/// Why an endpoint does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenFault {
    /// The identity is not usable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The operating system said no.
    #[error("cannot listen on UDP {address}: {source}")]
    Bind {
        /// Where.
        address: std::net::SocketAddr,
        /// Its words.
        source: std::io::Error,
    },
}

impl ListenFault {
    /// The stable code, if it has one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Bind { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => Some(codes::PORT_IN_USE),
            Self::Bind { .. } | Self::Identity(_) => None,
        }
    }
}

/// Who was dialled, for the text of a fault.
#[derive(Debug, Clone)]
pub(crate) struct Dialled {
    pub(crate) address: String,
    pub(crate) server_name: String,
    pub(crate) alpn: String,
}

impl Dialled {
    pub(crate) fn unanswered(&self, seconds: f32) -> DialFault {
        let Self { address, .. } = self;
        DialFault::Unreachable(format!(
            "no answer from the exit node at {address} (UDP) within {seconds} s"
        ))
    }

    pub(crate) fn fault(&self, error: &ConnectionError) -> DialFault {
        let Self {
            address,
            server_name,
            alpn,
        } = self;
        match error {
            ConnectionError::TransportError(why) if is_alert(why.code.into()) => DialFault::Untrusted(format!(
                "the exit node at {address} could not prove that it is {server_name}: {}",
                plain(&why.reason)
            )),
            ConnectionError::ConnectionClosed(close) => match close.error_code.into() {
                NO_APPLICATION_PROTOCOL => DialFault::Version(format!(
                    "the exit node at {address} does not speak {alpn}: one side has to be updated"
                )),
                CERTIFICATE_EXPIRED => DialFault::Expired(format!(
                    "the exit node at {address} says that our certificate has expired"
                )),
                CONNECTION_REFUSED => {
                    DialFault::Unreachable(format!("the exit node at {address} has no room for another connection"))
                }
                code if is_alert(code) => DialFault::Certificate(format!(
                    "the exit node at {address} does not accept our certificate (TLS alert {})",
                    code - ALERT
                )),
                _ => DialFault::Unreachable(format!("the exit node at {address} ended the handshake: {error}")),
            },
            ConnectionError::ApplicationClosed(close) => DialFault::Unreachable(format!(
                "the exit node at {address} closed the connection: {}",
                String::from_utf8_lossy(&close.reason)
            )),
            ConnectionError::VersionMismatch => {
                DialFault::Version(format!("the exit node at {address} speaks no common QUIC version"))
            }
            ConnectionError::TimedOut => self.unanswered(crate::limits::IDLE_TIMEOUT.as_secs_f32()),
            ConnectionError::TransportError(_)
            | ConnectionError::Reset
            | ConnectionError::LocallyClosed
            | ConnectionError::CidsExhausted => {
                DialFault::Unreachable(format!("no link to the exit node at {address}: {error}"))
            }
        }
    }
}

fn is_alert(code: u64) -> bool {
    (ALERT..=ALERT_LAST).contains(&code)
}

/// rustls's words for people: without its prefix and the names of its types.
fn plain(reason: &str) -> &str {
    let reason = reason.strip_prefix("invalid peer certificate: ").unwrap_or(reason);
    let other = reason
        .strip_prefix("Other(OtherError(")
        .and_then(|rest| rest.strip_suffix("))"));
    match other.unwrap_or(reason) {
        "UnknownIssuer" => "its certificate was signed by an authority that we do not trust",
        reason => reason,
    }
}

/// Why a link ended. `ours` is what we closed it with, if we did.
pub(crate) fn link_down(error: &ConnectionError, ours: Option<&Closing>) -> LinkDown {
    let down = |code: u32, reason: String, by: &str| LinkDown {
        code,
        reason,
        by: by.to_owned(),
    };
    match error {
        ConnectionError::LocallyClosed => {
            let (code, reason) = ours.map_or((0, String::new()), |ours| (ours.code, ours.reason.clone()));
            let lost = ours.is_some_and(|ours| ours.lost);
            down(code, reason, if lost { "timeout" } else { "us" })
        }
        ConnectionError::ApplicationClosed(close) => down(
            u32::try_from(close.error_code.into_inner()).unwrap_or(0),
            String::from_utf8_lossy(&close.reason).into_owned(),
            "peer",
        ),
        ConnectionError::TimedOut => {
            let silence = crate::limits::IDLE_TIMEOUT.as_secs();
            down(0, format!("nothing was heard of the peer for {silence} s"), "timeout")
        }
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::TransportError(_)
        | ConnectionError::Reset
        | ConnectionError::VersionMismatch
        | ConnectionError::CidsExhausted => down(0, error.to_string(), "transport"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quinn::{ApplicationClose, ConnectionClose, TransportErrorCode};

    fn dialled() -> Dialled {
        Dialled {
            address: "203.0.113.7:7443".into(),
            server_name: "connect.example.test".into(),
            alpn: "hawse/1".into(),
        }
    }

    fn closed_with_alert(alert: u8) -> ConnectionError {
        let error_code = TransportErrorCode::crypto(alert);
        ConnectionError::ConnectionClosed(ConnectionClose {
            error_code,
            frame_type: None,
            reason: Bytes::new(),
        })
    }

    #[test]
    fn each_end_of_a_handshake_has_its_class() {
        let table = [
            (closed_with_alert(120), codes::VERSION_MISMATCH),
            (closed_with_alert(45), codes::CERTIFICATE_EXPIRED),
            (closed_with_alert(48), codes::CERTIFICATE_REFUSED),
            (ConnectionError::TimedOut, codes::NO_EXIT_NODE),
            (ConnectionError::VersionMismatch, codes::VERSION_MISMATCH),
            (ConnectionError::Reset, codes::NO_EXIT_NODE),
        ];
        for (error, code) in table {
            assert_eq!(dialled().fault(&error).code(), Some(code), "{error}");
        }
    }

    #[test]
    fn a_node_that_cannot_prove_itself_is_named_with_the_reason() {
        let mut error = ConnectionError::TransportError(TransportErrorCode::crypto(48).into());
        if let ConnectionError::TransportError(why) = &mut error {
            why.reason = "invalid peer certificate: UnknownIssuer".into();
        }
        assert_eq!(
            dialled().fault(&error).to_string(),
            "the exit node at 203.0.113.7:7443 could not prove that it is connect.example.test: \
             its certificate was signed by an authority that we do not trust"
        );
    }

    #[test]
    fn a_link_down_says_who_ended_it() {
        let close = ApplicationClose {
            error_code: 2003u32.into(),
            reason: Bytes::from_static(b"revoked"),
        };
        let closing = |lost| {
            Some(Closing {
                code: 2015,
                reason: "stopping".to_owned(),
                lost,
            })
        };
        let table = [
            (ConnectionError::ApplicationClosed(close), None, (2003, "peer")),
            (ConnectionError::LocallyClosed, closing(false), (2015, "us")),
            (ConnectionError::LocallyClosed, closing(true), (2015, "timeout")),
            (ConnectionError::TimedOut, None, (0, "timeout")),
            (ConnectionError::Reset, None, (0, "transport")),
        ];
        for (error, ours, (code, by)) in table {
            let down = link_down(&error, ours.as_ref());
            assert_eq!((down.code, down.by.as_str()), (code, by), "{error}");
        }
    }
}
