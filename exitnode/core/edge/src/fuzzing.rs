//! Private parsers of foreign bytes as functions that panic if a promise is broken. For hawse-fuzz alone; feature `fuzzing`.

use hawse_proto::ir;
use http::{HeaderName, HeaderValue, Request, Version};
use prost::Message;

pub use crate::{announced::proxy_header, front::h3_sieve};
use crate::{limits::Limits, route::Routes, rules};

/// A head: lines of method, target and fields; the first byte chooses the version. What is taken has one clear host.
pub fn request_head(data: &[u8]) {
    let Some((version, data)) = data.split_first() else {
        return;
    };
    let version = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3][usize::from(version % 4)];
    let mut lines = data.split(|byte| *byte == b'\n');
    let (method, target) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let Ok(request) = Request::builder().version(version).method(method).uri(target).body(()) else {
        return;
    };
    let mut head = request.into_parts().0;
    for line in lines.take(200) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(&value[1..])) {
            head.headers.append(name, value);
        }
    }
    let before = head.headers.clone();
    let limits = Limits::default();
    let bounds = rules::HeadBounds {
        fields: limits.headers,
        bytes: limits.header_bytes,
    };
    let Ok(authority) = rules::check(&mut head, bounds) else {
        return;
    };
    let host = &authority.host;
    assert!(
        !host.is_empty() && host.len() <= 255 && !host.ends_with('.'),
        "{host:?}"
    );
    assert!(
        !host
            .bytes()
            .any(|byte| byte.is_ascii_uppercase() || byte.is_ascii_control()),
        "{host:?}"
    );
    assert!(!host.contains(['/', '@', ',', ' ', '%']), "{host:?}");
    assert!(!head.headers.keys().any(|name| name.as_str().contains('_')));
    for name in ["host", "content-length", "transfer-encoding"] {
        assert!(before.get_all(name).iter().count() <= 1, "{name} twice");
    }
}

/// Tunnels as an exit node is told of them: what is taken is found, and only by its name.
pub fn route(data: &[u8]) {
    let routes = Routes::default();
    for piece in data.split(|byte| *byte == 0xff) {
        let Ok(tunnel) = ir::Tunnel::decode(piece) else {
            continue;
        };
        let (uid, hostname) = (tunnel.uid.clone(), tunnel.hostname.clone());
        if routes.apply(tunnel).is_ok() {
            let found = routes.find(&hostname);
            assert!(found.is_some_and(|found| found.uid == uid), "{hostname:?}");
            assert!(
                routes
                    .find(&format!("x.{hostname}"))
                    .is_none_or(|other| other.uid != uid)
            );
            assert!(
                !hostname
                    .bytes()
                    .any(|byte| byte.is_ascii_uppercase() || byte.is_ascii_whitespace())
            );
            if data.len() % 2 == 0 {
                routes.remove(&uid);
                assert!(routes.find(&hostname).is_none_or(|other| other.uid != uid));
            }
        }
    }
}
