//! Which requests are taken at all: the rules that hyper and h2 leave to us, as one pure function.
//!
//! Every row is tested in tests/smuggling.rs on the wire and here without one. What the
//! libraries already refuse (obs-fold, bare CR, NUL, unequal Content-Length ...) is not repeated.

use std::net::Ipv6Addr;

use hawse_proto::codes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts, uri};

use crate::fault::Fault;

/// The host (and port) that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Lower case, without port and trailing dot.
    pub(crate) host: String,
    /// As the visitor wrote it, for the app's Host.
    pub(crate) text: HeaderValue,
}

/// Fields that HTTP/2 and HTTP/3 forbid (RFC 9113, 8.2.2; RFC 9114, 4.2).
const CONNECTION_FIELDS: [&str; 5] = [
    "connection",
    "transfer-encoding",
    "keep-alive",
    "proxy-connection",
    "upgrade",
];

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadBounds {
    pub(crate) fields: usize,
    /// As HTTP/1.1 would write it.
    pub(crate) bytes: usize,
}

/// Checks a request's head, drops what must not pass and names the host.
pub(crate) fn check(head: &mut Parts, bounds: HeadBounds) -> Result<Authority, Fault> {
    check_method(head)?;
    check_count(&head.headers, bounds.fields)?;
    check_size(head, bounds.bytes)?;
    check_framing(head)?;
    let authority = authority(head)?;
    drop_ambiguous(&mut head.headers);
    Ok(authority)
}

/// CONNECT is served for WebSockets over HTTP/2 alone (RFC 8441); an edge is no open proxy.
fn check_method(head: &Parts) -> Result<(), Fault> {
    if head.method != Method::CONNECT {
        return Ok(());
    }
    if head.version == Version::HTTP_3 {
        let detail = "WebSockets are served over HTTP/1.1 and HTTP/2, not over HTTP/3.";
        return Err(Fault::new(&codes::METHOD_NOT_SUPPORTED, detail));
    }
    let protocol = head
        .extensions
        .get::<hyper::ext::Protocol>()
        .map(hyper::ext::Protocol::as_str);
    match protocol {
        Some(protocol) if protocol.eq_ignore_ascii_case("websocket") => Ok(()),
        Some(_) => Err(Fault::new(
            &codes::METHOD_NOT_SUPPORTED,
            "Of extended CONNECT only the protocol websocket is served.",
        )),
        None => Err(Fault::new(&codes::METHOD_NOT_SUPPORTED, "")),
    }
}

/// Cookie crumbs count once: browsers split cookies, and their bytes are bounded with all others.
fn check_count(headers: &HeaderMap, limit: usize) -> Result<(), Fault> {
    let crumbs = headers.get_all(header::COOKIE).iter().count().saturating_sub(1);
    if headers.len() - crumbs > limit {
        return Err(Fault::new(
            &codes::HEADERS_TOO_LARGE,
            format!("At most {limit} fields are taken."),
        ));
    }
    Ok(())
}

fn check_size(head: &Parts, limit: usize) -> Result<(), Fault> {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let fields = (head.headers.iter()).map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    if target + fields.sum::<usize>() > limit {
        return Err(Fault::new(
            &codes::HEADERS_TOO_LARGE,
            format!("At most {limit} bytes are taken."),
        ));
    }
    Ok(())
}

fn check_framing(head: &Parts) -> Result<(), Fault> {
    let headers = &head.headers;
    if headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(Fault::bad_request("Content-Length stands twice."));
    }
    let length = headers.get(header::CONTENT_LENGTH).map(HeaderValue::as_bytes);
    if length.is_some_and(|length| length.is_empty() || !length.iter().all(u8::is_ascii_digit) || length.len() > 19) {
        return Err(Fault::bad_request("Content-Length is not a number."));
    }
    if head.version >= Version::HTTP_2 {
        if let Some(name) = CONNECTION_FIELDS.iter().find(|name| headers.contains_key(**name)) {
            return Err(Fault::bad_request(format!(
                "{:?} forbids the field {name}.",
                head.version
            )));
        }
        if headers
            .get_all(header::TE)
            .iter()
            .any(|te| !te.as_bytes().eq_ignore_ascii_case(b"trailers"))
        {
            return Err(Fault::bad_request("TE may only have the value trailers."));
        }
        return Ok(());
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        // hyper drops Content-Length then and closes after the answer, so nothing can hide behind it.
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Fault::new(&codes::CODING_NOT_SUPPORTED, "Only chunked is taken, once.")),
    }
}

/// Host, or the target's authority; both only if they agree.
fn authority(head: &Parts) -> Result<Authority, Fault> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Fault::bad_request("Host stands twice."));
    }
    let target = head.uri.authority().map(uri::Authority::as_str);
    let text = match (host, target) {
        (None, None) => return Err(Fault::bad_request("The request names no Host.")),
        (Some(host), Some(target)) if !host.as_bytes().eq_ignore_ascii_case(target.as_bytes()) => {
            return Err(Fault::bad_request("Host is not the host of the target."));
        }
        (_, Some(target)) => HeaderValue::from_str(target).ok(),
        (Some(host), None) => Some(host.clone()),
    };
    let named = text.and_then(|text| {
        let host = parse_host(text.to_str().ok()?)?;
        Some(Authority { host, text })
    });
    named.ok_or_else(|| Fault::bad_request("Host is not a host name."))
}

/// The host of `name`, `name:port` or `[v6]:port`; no userinfo, no percent-encoding, nothing after it.
fn parse_host(text: &str) -> Option<String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (&text[..address.len() + 2], after)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (&text[..end], &text[end..])
        }
    };
    let port_is_valid = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.parse::<u16>().is_ok());
    let in_brackets = host.starts_with('[');
    let name_is_valid = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let host = host.strip_suffix('.').unwrap_or(host);
    let labels_are_there = host.split('.').all(|label| !label.is_empty());
    (port_is_valid && labels_are_there && host.len() <= 255 && (in_brackets || name_is_valid))
        .then(|| host.to_ascii_lowercase())
}

/// Names with an underscore: CGI and WSGI apps read `x_forwarded_for` as `x-forwarded-for`. Envoy's checklist rejects, we
/// drop, because some harmless clients send such names.
pub(crate) fn drop_ambiguous(headers: &mut HeaderMap) {
    let twins: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().contains('_'))
        .cloned()
        .collect();
    for name in twins {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests;
