//! The only maker of pages: turns a [`Fault`] into an answer, HTML for browsers, RFC 9457 problem details for everyone else.
//!
//! HTML comes from `EdgeOptions.pages` (rendered once by Python) and has the slots `{host}`, `{request_id}` and `{detail}`;
//! codes without a page get a plain one. Everything put into a slot is escaped. Called by the rescue layer.

use std::{collections::HashMap, fmt::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use hawse_proto::core::EdgeOptions;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::{
    body::{self, Body},
    fault::{self, Fault},
    limits,
};

/// Header that names the code; `ERROR_HEADER` of names.py.
pub(crate) const ERROR_HEADER: &str = "x-hawse-error";
/// Where the page of a code stands; also the `type` of the problem.
const TYPE_BASE: &str = "https://hawse.dev/errors/";
/// Used for a code without a page.
const PLAIN: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1>\
<p>{detail}</p><p><small>{host} &middot; {code} &middot; request {request_id}</small></p></html>\n";

/// The HTML pages by code number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pages(Arc<HashMap<u32, String>>);

impl Pages {
    /// Pages for names that are no code of the edge are left out; what is not UTF-8 is replaced.
    pub(crate) fn of(options: &EdgeOptions) -> Self {
        let page = |(name, html): (&String, &Vec<u8>)| {
            Some((fault::by_text(name)?.number, String::from_utf8_lossy(html).into_owned()))
        };
        Self(Arc::new(options.pages.iter().filter_map(page).collect()))
    }
}

/// What a page needs to know of the request; taken before the request goes down the stack.
#[derive(Debug, Clone)]
pub(crate) struct Audience {
    html: bool,
    head: bool,
    http1: bool,
    host: Option<HeaderValue>,
    authority: Option<http::uri::Authority>,
}

impl Audience {
    pub(crate) fn of(request: &http::Request<Body>) -> Self {
        Self {
            html: accepts_html(request.headers()),
            head: request.method() == Method::HEAD,
            http1: request.version() < http::Version::HTTP_2,
            host: request.headers().get(header::HOST).cloned(),
            authority: request.uri().authority().cloned(),
        }
    }

    #[cfg(test)]
    fn of_head(head: http::request::Parts) -> Self {
        Self::of(&http::Request::from_parts(head, body::empty()))
    }

    /// For display only; escaped wherever it is put.
    fn host(&self) -> &str {
        let written = self.host.as_ref().and_then(|host| host.to_str().ok());
        self.authority
            .as_ref()
            .map(http::uri::Authority::as_str)
            .or(written)
            .unwrap_or("")
    }
}

/// Browsers name text/html; `*/*` (curl, most libraries) gets the problem.
pub(crate) fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let html = parts.next().is_some_and(|kind| {
                kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
            });
            html && !parts.any(|part| {
                let quality = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
                quality.is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0))
            })
        })
}

/// The answer for a fault.
pub(crate) fn respond(fault: &Fault, audience: &Audience, request_id: &str, pages: &Pages) -> Response<Body> {
    let (kind, text) = if audience.html {
        (
            "text/html; charset=utf-8",
            html(fault, audience.host(), request_id, pages),
        )
    } else {
        ("application/problem+json", problem(fault, request_id))
    };
    let length = text.len();
    let mut response = Response::new(if audience.head {
        body::empty()
    } else {
        body::full(Bytes::from(text))
    });
    *response.status_mut() = StatusCode::from_u16(fault.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(code) = HeaderValue::try_from(fault::text(fault.code)) {
        headers.insert(ERROR_HEADER, code);
    }
    if audience.http1 && matches!(fault.code.status, 400 | 405 | 408 | 501) {
        // What follows an unclear request on the same connection could be anything; behind a CONNECT it is what was meant
        // for the tunnel, not a request.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let seconds = |after: Duration| after.as_secs().max(1);
    let after = match (fault.code.status, fault.retry_after) {
        (503, after) => Some(after.map_or(30, seconds)),
        (401, after) => after.map(seconds),
        _ => None,
    };
    if let Some(after) = after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
    }
    for challenge in &fault.challenges {
        headers.append(header::WWW_AUTHENTICATE, challenge.clone());
    }
    response
}

fn html(fault: &Fault, host: &str, request_id: &str, pages: &Pages) -> String {
    let code = fault::text(fault.code);
    let template = pages.0.get(&fault.code.number).map_or(PLAIN, String::as_str);
    let slots = [
        ("{host}", host),
        ("{request_id}", request_id),
        ("{detail}", fault.detail.as_ref()),
        ("{title}", fault.code.title),
        ("{code}", code.as_str()),
    ];
    fill(template, &slots)
}

/// One pass, so that a value which contains a slot stays text.
fn fill(template: &str, slots: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() + 256);
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if out.len() > limits::PAGE_BYTES {
            return out;
        }
        rest = match slots.iter().find(|(slot, _)| from.starts_with(slot)) {
            Some((slot, value)) => {
                escape_html(value, &mut out);
                &from[slot.len()..]
            }
            None => {
                out.push('{');
                &from[1..]
            }
        };
    }
    out.push_str(rest);
    out
}

fn escape_html(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

/// RFC 9457, with the members `code` and `request_id`.
fn problem(fault: &Fault, request_id: &str) -> String {
    let code = fault::text(fault.code);
    let mut out = String::with_capacity(384);
    let mut member = |name: &str, value: &str| {
        out.push_str(if out.is_empty() { "{\"" } else { ",\"" });
        out.push_str(name);
        out.push_str("\":\"");
        escape_json(value, &mut out);
        out.push('"');
    };
    member("type", &format!("{TYPE_BASE}{code}"));
    member("title", fault.code.title);
    if !fault.detail.is_empty() {
        member("detail", &fault.detail);
    }
    member("code", &code);
    member("instance", &format!("urn:hawse:request:{request_id}"));
    member("request_id", request_id);
    // A number, so not by `member`.
    out.push_str(&format!(",\"status\":{}}}\n", fault.code.status));
    out
}

fn escape_json(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
