//! May an answer be given to others than the one who asked, and for how long: RFC 9111 by http-cache-semantics, with what the
//! tunnel adds. Pure; asked once for each answer, never on a hit.
//!
//! Stricter than the standard in three points: an answer that sets cookies is one visitor's, whatever it says; so is a stream
//! of events; and there is no heuristic freshness, since a developer who edits a file expects visitors to see it.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_cache_semantics::{CacheOptions, CachePolicy};

use crate::limits;

/// What a tunnel says of all its answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Freshness of answers that don't say how long they are fresh.
    pub(crate) ttl: Duration,
    pub(crate) while_revalidate: Duration,
    pub(crate) if_error: Duration,
    pub(crate) share_authorized: bool,
}

/// For how long an answer serves, from when it came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// How old it was.
    pub(crate) age: Duration,
    pub(crate) fresh: Duration,
    /// After that: given out while it is asked for again.
    pub(crate) while_revalidate: Duration,
    /// After that: given out when the app fails.
    pub(crate) if_error: Duration,
    /// The app says that it is for everybody, cookies or not.
    pub(crate) for_all: bool,
}

impl Lifetime {
    /// Worth storing.
    pub(crate) fn is_kept(&self) -> bool {
        !(self.fresh + self.while_revalidate + self.if_error).is_zero()
    }
}

/// `None`: it is for the one who asked. `guarded`: the request had cookies of which the tunnel says nothing, so silence of
/// the app is no consent (RFC 9111, 3.5, takes Authorization so).
pub(crate) fn judge(
    (status, answer): (StatusCode, &HeaderMap),
    asked: &HeaderMap,
    (terms, guarded): (Terms, bool),
    now: SystemTime,
) -> Option<Lifetime> {
    if answer.contains_key(header::SET_COOKIE) || is_event_stream(answer) || vary(answer).is_none() {
        return None;
    }
    let directives = Directives::of(answer)?;
    let policy = policy((status, answer), asked, (&directives, terms), now);
    let for_all = directives.has("public") || directives.has("s-maxage");
    if !policy.is_storable() || directives.has("no-cache") || (guarded && !for_all) {
        return None;
    }
    let says_how_long = directives.has("max-age") || directives.has("s-maxage") || answer.contains_key(header::EXPIRES);
    let fresh = if says_how_long {
        policy.time_to_live(now)
    } else {
        terms.ttl
    };
    // RFC 9111, 4.2.4: s-maxage forbids what the same answer does not expressly allow (RFC 5861).
    let must = directives.has("must-revalidate") || directives.has("proxy-revalidate");
    let stale = |name, of_tunnel| match directives.seconds(name) {
        _ if must => Duration::ZERO,
        Some(said) => said.min(limits::SHIELD_STALE),
        None if directives.has("s-maxage") => Duration::ZERO,
        None => of_tunnel,
    };
    let while_revalidate = stale("stale-while-revalidate", terms.while_revalidate);
    if says_how_long && fresh.is_zero() && while_revalidate.is_zero() {
        return None; // it may be used for nothing that has not asked for it
    }
    Some(Lifetime {
        age: policy.age(now).min(limits::SHIELD_STALE),
        fresh: fresh.min(limits::SHIELD_FRESH),
        while_revalidate,
        if_error: stale("stale-if-error", terms.if_error),
        for_all,
    })
}

/// The fields of requests that an answer depends on; `None`: on everything, or on too many.
pub(crate) fn vary(answer: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for value in answer.get_all(header::VARY) {
        for name in value
            .to_str()
            .ok()?
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            names.push(HeaderName::try_from(name).ok().filter(|_| name != "*")?);
        }
    }
    // An app that compresses for some and forgets to say so.
    if answer.contains_key(header::CONTENT_ENCODING) {
        names.push(header::ACCEPT_ENCODING);
    }
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    (names.len() <= limits::SHIELD_VARY_FIELDS).then_some(names)
}

/// The app's own words of failure, for which `stale-if-error` stands (RFC 5861, 4).
pub(crate) fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

fn is_event_stream(answer: &HeaderMap) -> bool {
    let kind = answer.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.len() >= 17 && kind[..17].eq_ignore_ascii_case(b"text/event-stream"))
}

/// The rule book, on those fields alone that it reads.
fn policy(
    (status, answer): (StatusCode, &HeaderMap),
    asked: &HeaderMap,
    (directives, terms): (&Directives, Terms),
    now: SystemTime,
) -> CachePolicy {
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    if let (Some(value), false) = (asked.get(header::AUTHORIZATION), terms.share_authorized) {
        request.headers_mut().insert(header::AUTHORIZATION, value.clone());
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    for name in [header::EXPIRES, header::DATE, header::AGE] {
        if let Some(value) = answer.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    if let Ok(value) = HeaderValue::try_from(&directives.0) {
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    let options = CacheOptions {
        cache_heuristic: 0.0,
        immutable_min_time_to_live: Duration::ZERO,
        ..CacheOptions::default()
    };
    CachePolicy::new_options(&request, &response, now, options)
}

/// Cache-Control in lower case: names are case-insensitive (RFC 9111, 5.2), the crate compares bytes.
struct Directives(String);

impl Directives {
    /// `None`: it can't be read, so it may say anything.
    fn of(answer: &HeaderMap) -> Option<Self> {
        let mut text = String::new();
        for value in answer.get_all(header::CACHE_CONTROL) {
            text.push_str(value.to_str().ok()?);
            text.push(',');
        }
        let pragma = answer.get(header::PRAGMA).filter(|_| text.is_empty());
        if pragma.is_some_and(|pragma| pragma.as_bytes().to_ascii_lowercase().starts_with(b"no-cache")) {
            text.push_str("no-cache");
        }
        text.make_ascii_lowercase();
        Some(Self(text))
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut all = self.0.split(',').map(|part| part.split_once('=').unwrap_or((part, "")));
        all.find(|(each, _)| each.trim() == name)
            .map(|(_, value)| value.trim().trim_matches('"'))
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn seconds(&self, name: &str) -> Option<Duration> {
        self.value(name)?.parse().ok().map(Duration::from_secs)
    }
}

#[cfg(test)]
#[path = "tests/storable.rs"]
mod tests;
