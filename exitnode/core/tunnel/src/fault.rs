//! Why there is no link, and why a link ended: the reasons of QUIC, TLS and TCP in our words. Pure.
//!
//! A dial's faults are one class for each thing its caller can do (hawse_tunnel/errors.py has the same tree); the text
//! comes last and names the peer. Called by dial.rs, server.rs and link.rs.

use hawse_proto::codes::{self, Code};
use hawse_proto::core::LinkDown;
use quinn::ConnectionError;

use crate::identity::IdentityError;
use crate::link::Closing;
use crate::transport::End;

/// TLS alerts as QUIC carries them, RFC 9001 section 4.8.
const ALERT: u64 = 0x100;
/// RFC 8446 section 6: alerts about our certificate.
const BAD_CERTIFICATE: u8 = 42;
const CERTIFICATE_EXPIRED: u8 = 45;
const CERTIFICATE_UNKNOWN: u8 = 46;
const UNKNOWN_CA: u8 = 48;
/// A signature does not fit: another CA with the same name.
const DECRYPT_ERROR: u8 = 51;
const CERTIFICATE_REQUIRED: u8 = 116;
/// RFC 7301 section 3.2, and RFC 8446: a port for visitors that takes no agents knows neither our protocol nor our name.
const NO_APPLICATION_PROTOCOL: u8 = 120;
const ACCESS_DENIED: u8 = 49;
const UNRECOGNISED_NAME: u8 = 112;
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
    /// "UDP", "TCP", "TCP, through the proxy proxy.example.com:3128"
    pub(crate) way: String,
}

impl Dialled {
    pub(crate) fn unanswered(&self, seconds: f32) -> DialFault {
        let Self { address, way, .. } = self;
        DialFault::Unreachable(format!(
            "no answer from the exit node at {address} ({way}) within {seconds} s"
        ))
    }

    pub(crate) fn unreachable(&self, why: impl std::fmt::Display) -> DialFault {
        let Self { address, way, .. } = self;
        DialFault::Unreachable(format!("no way to the exit node at {address} ({way}): {why}"))
    }

    pub(crate) fn bad_name(&self) -> DialFault {
        DialFault::Rejected(format!("{:?} is not a DNS name", self.server_name))
    }

    /// The exit node could not prove itself; rustls says why.
    fn untrusted(&self, why: &str) -> DialFault {
        let Self {
            address, server_name, ..
        } = self;
        let why = plain(why);
        DialFault::Untrusted(format!(
            "the exit node at {address} could not prove that it is {server_name}: {why}"
        ))
    }

    pub(crate) fn other_protocol(&self) -> DialFault {
        let Self { address, alpn, way, .. } = self;
        DialFault::Version(format!(
            "the exit node at {address} does not speak {alpn} ({way}): one side has to be updated"
        ))
    }

    /// A TLS alert of the exit node, RFC 8446 section 6; `None`: none that tells what to do.
    fn alert(&self, alert: u8) -> Option<DialFault> {
        let address = &self.address;
        match alert {
            NO_APPLICATION_PROTOCOL | ACCESS_DENIED | UNRECOGNISED_NAME => Some(self.other_protocol()),
            CERTIFICATE_EXPIRED => Some(DialFault::Expired(format!(
                "the exit node at {address} says that our certificate has expired"
            ))),
            BAD_CERTIFICATE..=CERTIFICATE_UNKNOWN | UNKNOWN_CA | DECRYPT_ERROR | CERTIFICATE_REQUIRED => {
                Some(DialFault::Certificate(format!(
                    "the exit node at {address} does not accept our certificate (TLS alert {alert})"
                )))
            }
            _ => None,
        }
    }

    /// TLS on TCP, or what lies below it, failed.
    pub(crate) fn io_fault(&self, error: &std::io::Error) -> DialFault {
        let Some(why) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return self.unreachable(error);
        };
        match why {
            rustls::Error::AlertReceived(alert) => self
                .alert((*alert).into())
                .unwrap_or_else(|| self.unreachable(format_args!("the exit node ended the handshake: {why}"))),
            rustls::Error::InvalidCertificate(_) => self.untrusted(&why.to_string()),
            rustls::Error::NoApplicationProtocol => self.other_protocol(),
            why => self.unreachable(format_args!("what answers is no exit node ({why})")),
        }
    }

    pub(crate) fn fault(&self, error: &ConnectionError) -> DialFault {
        let address = &self.address;
        match error {
            ConnectionError::TransportError(why) if alert(why.code.into()).is_some() => self.untrusted(&why.reason),
            ConnectionError::ConnectionClosed(close) => {
                let code = u64::from(close.error_code);
                if code == CONNECTION_REFUSED {
                    let full = format!("the exit node at {address} has no room for another connection");
                    return DialFault::Unreachable(full);
                }
                alert(code).and_then(|alert| self.alert(alert)).unwrap_or_else(|| {
                    DialFault::Unreachable(format!("the exit node at {address} ended the handshake: {error}"))
                })
            }
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

/// The TLS alert in an error code of QUIC, RFC 9001 section 4.8.
fn alert(code: u64) -> Option<u8> {
    u8::try_from(code.checked_sub(ALERT)?).ok()
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
pub(crate) fn link_down(end: End, ours: Option<&Closing>) -> LinkDown {
    let (code, reason, by) = match (end, ours) {
        (End::Us, Some(ours)) => {
            let by = if ours.lost { "timeout" } else { "us" };
            (ours.code, ours.reason.clone(), by)
        }
        (End::Us, None) => (0, String::new(), "us"),
        (End::Peer { code, reason }, _) => (code, reason, "peer"),
        (End::Silence, _) => {
            let silence = crate::limits::IDLE_TIMEOUT.as_secs();
            (0, format!("nothing was heard of the peer for {silence} s"), "timeout")
        }
        (End::Forgotten, _) => (0, "the peer was started again".to_owned(), "restart"),
        (End::Failed(why), _) => (0, why, "transport"),
    };
    LinkDown {
        code,
        reason,
        by: by.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quinn::{ConnectionClose, TransportErrorCode};

    fn dialled() -> Dialled {
        Dialled {
            address: "203.0.113.7:7443".into(),
            server_name: "connect.example.test".into(),
            alpn: "hawse/1".into(),
            way: "UDP".into(),
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
            (closed_with_alert(51), codes::CERTIFICATE_REFUSED),
            (closed_with_alert(80), codes::NO_EXIT_NODE),
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
        let closing = |lost| {
            Some(Closing {
                code: 2015,
                reason: "stopping".to_owned(),
                lost,
            })
        };
        let peer = End::Peer {
            code: 2003,
            reason: "revoked".to_owned(),
        };
        let table = [
            (peer, None, (2003, "peer")),
            (End::Us, closing(false), (2015, "us")),
            (End::Us, closing(true), (2015, "timeout")),
            (End::Silence, None, (0, "timeout")),
            (End::Forgotten, None, (0, "restart")),
            (End::Failed("reset".to_owned()), None, (0, "transport")),
        ];
        for (end, ours, (code, by)) in table {
            let down = link_down(end.clone(), ours.as_ref());
            assert_eq!((down.code, down.by.as_str()), (code, by), "{end:?}");
        }
    }
}
