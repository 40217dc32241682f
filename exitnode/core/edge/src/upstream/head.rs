//! What changes in the head of a request on its way to the app, and of an answer on its way back. Pure.
//!
//! The visitor's word on who it is never passes (a trusted load balancer's does, proxies.rs): X-Forwarded-*, Forwarded,
//! X-Real-IP and X-Hawse-* are the edge's. Fields of
//! one connection (RFC 9110, 7.6.1) end here in both directions.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header, request, response, uri};

use crate::{
    access::{Identity, cookies},
    fault::Fault,
    rules,
    visit::{self, RequestId},
};

/// How the app is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Towards {
    Http1,
    H2c,
    /// HTTP/1.1 with Upgrade.
    WebSocket,
}

/// What the edge tells the app of the visitor.
#[derive(Debug, Clone)]
pub(super) struct Told<'a> {
    /// Value of X-Forwarded-For.
    pub(super) forwarded_for: Option<HeaderValue>,
    /// Host as the visitor wrote it.
    pub(super) authority: &'a HeaderValue,
    /// What the app gets as Host instead; `None`: the same.
    pub(super) host: Option<&'a str>,
    /// The app is spoken to over TLS.
    pub(super) tls: bool,
    pub(super) request_id: &'a RequestId,
    pub(super) identity: Option<&'a Identity>,
}

/// Fields of one connection, besides those that Connection names. Trailer is none of them (RFC 9110, 6.6.2).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Rewrites a request's head for the app.
pub(super) fn request(head: &mut request::Parts, towards: Towards, told: Told<'_>) -> Result<(), Fault> {
    let wants_trailers = header_has(&head.headers, header::TE, "trailers");
    drop_hop_by_hop(&mut head.headers);
    drop_matching(&mut head.headers, is_ours);
    // hyper answers 100 Continue as soon as the app's side takes the body: the expectation is met here.
    head.headers.remove(header::EXPECT);
    cookies::strip(&mut head.headers);
    join_cookies(&mut head.headers);
    let tls = told.tls;
    let host = tell(&mut head.headers, told)?;
    match towards {
        Towards::Http1 if wants_trailers => {
            head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        Towards::H2c if wants_trailers => {
            head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        Towards::WebSocket => {
            head.method = Method::GET;
            head.headers
                .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers
                .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        Towards::Http1 | Towards::H2c => {}
    }
    address(head, towards, &host, tls)?;
    head.extensions.clear();
    Ok(())
}

/// Rewrites an answer's head for the visitor.
pub(super) fn response(head: &mut response::Parts) {
    // An app that names both lengths means the coding (RFC 9112, 6.3); passed on, the wrong one would frame the answer.
    if head.headers.contains_key(header::TRANSFER_ENCODING) {
        head.headers.remove(header::CONTENT_LENGTH);
    }
    drop_hop_by_hop(&mut head.headers);
    drop_matching(&mut head.headers, |name| name.as_str().starts_with("x-hawse-"));
    head.version = Version::HTTP_11;
    head.extensions.clear();
}

/// Drops from a request's trailers what may not stand there or would speak for the edge.
pub(super) fn trailers(fields: &mut HeaderMap) {
    drop_hop_by_hop(fields);
    rules::drop_ambiguous(fields);
    drop_matching(fields, is_ours);
    fields.remove(header::HOST);
    fields.remove(header::CONTENT_LENGTH);
}

/// The names that Connection lists.
pub(super) fn connection_names(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim).filter(|name| !name.is_empty()))
}

fn header_has(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name);
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| {
            part.split(';')
                .next()
                .is_some_and(|token| token.trim().eq_ignore_ascii_case(wanted))
        })
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    // Host and Content-Length can be named to make the next hop misread the request: they stay.
    let named: Vec<HeaderName> = connection_names(headers)
        .filter_map(|name| HeaderName::try_from(name).ok())
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
    drop_matching(headers, |name| HOP_BY_HOP.contains(name));
}

/// Fields by which the edge speaks to the app.
fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-") || name.starts_with("x-hawse-") || matches!(name, "forwarded" | "x-real-ip")
}

fn drop_matching(headers: &mut HeaderMap, drop: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| drop(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// HTTP/2 splits cookies into crumbs; HTTP/1.1 wants one field (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Tells the app of the visitor; the Host that it gets.
fn tell(headers: &mut HeaderMap, told: Told<'_>) -> Result<HeaderValue, Fault> {
    if let Some(chain) = told.forwarded_for {
        headers.insert(FORWARDED_FOR, chain);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    headers.insert(FORWARDED_HOST, told.authority.clone());
    headers.insert(visit::REQUEST_ID, told.request_id.value());
    if let Some(identity) = told.identity {
        identity.tell(headers);
    }
    let host = told.host.map(HeaderValue::from_str).transpose();
    let host = host.map_err(|_| Fault::bad_request("Host is not a host name."))?;
    let host = host.unwrap_or_else(|| told.authority.clone());
    headers.insert(header::HOST, host.clone());
    Ok(host)
}

/// Target and version: path only in HTTP/1.1, scheme and authority in HTTP/2.
fn address(head: &mut request::Parts, towards: Towards, host: &HeaderValue, tls: bool) -> Result<(), Fault> {
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(
        head.uri
            .path_and_query()
            .cloned()
            .unwrap_or(uri::PathAndQuery::from_static("/")),
    );
    head.version = Version::HTTP_11;
    if towards == Towards::H2c {
        parts.scheme = Some(if tls { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
        parts.authority = host.as_bytes().try_into().ok();
        head.version = Version::HTTP_2;
        head.headers.remove(header::HOST);
    }
    head.uri = Uri::from_parts(parts).map_err(|_| Fault::bad_request("The target is not valid."))?;
    Ok(())
}

#[cfg(test)]
#[path = "tests/head.rs"]
mod tests;
