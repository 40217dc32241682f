//! The last words of a connection: the HAWSE number and the reason, as trailers of the control stream. Pure.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::transport::End;

const CODE: HeaderName = HeaderName::from_static("hawse-code");
const REASON: HeaderName = HeaderName::from_static("hawse-reason");
/// Bytes of a reason; longer ones are cut. Below what `limits::HEADER_LIST_BYTES` lets through.
const REASON_MAX_BYTES: usize = 1024;

pub(super) fn trailers(code: u32, reason: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(CODE, code.into());
    // A field's value is any bytes but control characters; UTF-8 passes as it is.
    let plain: Vec<u8> = reason
        .bytes()
        .map(|byte| if byte.is_ascii_control() { b' ' } else { byte })
        .take(REASON_MAX_BYTES)
        .collect();
    if let Ok(reason) = HeaderValue::from_bytes(plain.trim_ascii()) {
        trailers.insert(REASON, reason);
    }
    trailers
}

/// What the peer closed with; fields that are missing or are none of ours count as 0 and empty.
pub(super) fn read(trailers: &HeaderMap) -> End {
    let code = trailers.get(CODE).and_then(|code| code.to_str().ok()?.parse().ok());
    let reason = trailers
        .get(REASON)
        .map(|reason| String::from_utf8_lossy(reason.as_bytes()));
    End::Peer {
        code: code.unwrap_or(0),
        reason: reason.unwrap_or_default().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_too_long_or_not_printable_is_made_to_fit() {
        let End::Peer { code, reason } = read(&trailers(7, &format!("a\r\nb{}", "x".repeat(5000)))) else {
            unreachable!()
        };
        assert_eq!((code, reason.len(), &reason[..4]), (7, REASON_MAX_BYTES, "a  b"));
    }

    #[test]
    fn a_stranger_s_trailers_are_a_close_without_a_code() {
        let mut strange = HeaderMap::new();
        strange.insert(CODE, HeaderValue::from_static("-1"));
        let nothing = End::Peer {
            code: 0,
            reason: String::new(),
        };
        assert_eq!(read(&strange), nothing);
    }

    proptest! {
        #[test]
        fn what_is_said_is_heard(code in any::<u32>(), reason in "[a-zA-Zäß€][ -~äß€]{0,100}[a-zä€]") {
            prop_assert_eq!(read(&trailers(code, &reason)), End::Peer { code, reason });
        }
    }
}
