//! What a request may be answered with: only pure looks at its head, and at its cookies if it has any. Pure.

use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body::Body as _;

use crate::body::Body;

/// What the tunnel says of its visitors' credentials.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    /// Cookies that tell visitors apart. Empty: nothing is known of any.
    pub(crate) cookies: Vec<String>,
    /// Requests with Authorization are shared like others.
    pub(crate) share_authorized: bool,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// For something of its own: it passes by.
    Own,
    /// For what others may have as well.
    Shared {
        /// It has cookies of which nothing is known: only what the app says is for all will do.
        guarded: bool,
        /// It takes a part, or no body: from the store, or it passes by.
        stored_only: bool,
    },
}

/// Whoever is known by an identity never comes here.
pub(crate) fn judge(request: &Request<Body>, credentials: &Credentials) -> Asks {
    let fields = request.headers();
    let head = *request.method() == Method::HEAD;
    if !(head || *request.method() == Method::GET) || !request.is_end_stream() || is_own(fields, credentials) {
        return Asks::Own;
    }
    let cookies = fields.contains_key(header::COOKIE);
    if cookies && names_one(fields, &credentials.cookies) {
        return Asks::Own;
    }
    Asks::Shared {
        guarded: cookies && credentials.cookies.is_empty(),
        stored_only: head || fields.contains_key(header::RANGE),
    }
}

fn is_own(fields: &HeaderMap, credentials: &Credentials) -> bool {
    let has = |name| fields.contains_key(name);
    (has(header::AUTHORIZATION) && !credentials.share_authorized)
        || has(header::UPGRADE)
        || has(header::IF_MATCH)
        || has(header::IF_UNMODIFIED_SINCE)
        // A visitor may ask that nothing is kept of its visit (RFC 9111, 5.2.1.5). Its other wishes, to have a newer answer,
        // are not heard: ten thousand reloads are what the shield is for.
        || any(fields, header::CACHE_CONTROL, b"no-store")
        || any(fields, header::ACCEPT, b"text/event-stream")
}

/// One of the values has it as a member of a list.
fn any(fields: &HeaderMap, name: header::HeaderName, wanted: &[u8]) -> bool {
    let members = |value: &HeaderValue| {
        let mut members = value.as_bytes().split(|byte| matches!(byte, b',' | b';'));
        members.any(|member| member.trim_ascii().eq_ignore_ascii_case(wanted))
    };
    fields.get_all(name).iter().any(members)
}

fn names_one(fields: &HeaderMap, cookies: &[String]) -> bool {
    let names = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b';').any(|pair| {
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
            cookies.iter().any(|cookie| cookie.as_bytes() == name)
        })
    };
    !cookies.is_empty() && fields.get_all(header::COOKIE).iter().any(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;

    const FREE: Asks = Asks::Shared {
        guarded: false,
        stored_only: false,
    };

    fn asks(method: &str, fields: &[(&str, &str)], credentials: &Credentials) -> Asks {
        let mut request = Request::builder().method(method);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        judge(&request.body(body::empty()).unwrap(), credentials)
    }

    #[test]
    fn only_plain_gets_and_heads_are_shared() {
        let nothing = Credentials::default();
        for (method, fields, expected) in [
            ("GET", &[][..], FREE),
            ("GET", &[("cache-control", "no-cache"), ("pragma", "no-cache")], FREE),
            ("GET", &[("cache-control", "max-age=0, No-Store")], Asks::Own),
            ("GET", &[("if-none-match", "\"a\"")], FREE),
            ("GET", &[("if-match", "\"a\"")], Asks::Own),
            ("GET", &[("upgrade", "websocket")], Asks::Own),
            ("GET", &[("accept", "text/html, text/event-stream;q=1")], Asks::Own),
            ("GET", &[("authorization", "Basic x")], Asks::Own),
            ("POST", &[], Asks::Own),
            ("OPTIONS", &[], Asks::Own),
        ] {
            assert_eq!(asks(method, fields, &nothing), expected, "{method} {fields:?}");
        }
        let stored_only = Asks::Shared {
            guarded: false,
            stored_only: true,
        };
        assert_eq!(asks("HEAD", &[], &nothing), stored_only);
        assert_eq!(asks("GET", &[("range", "bytes=0-1")], &nothing), stored_only);
        let with_body = Request::get("/").body(body::full("x")).unwrap();
        assert_eq!(judge(&with_body, &nothing), Asks::Own);
    }

    #[test]
    fn cookies_count_unless_the_tunnel_says_which_do() {
        let guarded = Asks::Shared {
            guarded: true,
            stored_only: false,
        };
        let named = Credentials {
            cookies: vec!["sid".into(), "auth".into()],
            share_authorized: true,
        };
        let cookie = |value| [("cookie", value)];
        assert_eq!(asks("GET", &cookie("_ga=1"), &Credentials::default()), guarded);
        assert_eq!(asks("GET", &cookie("_ga=1; sidx=sid"), &named), FREE);
        assert_eq!(asks("GET", &cookie("_ga=1; sid=7"), &named), Asks::Own);
        assert_eq!(asks("GET", &cookie("auth"), &named), Asks::Own);
        assert_eq!(
            asks("GET", &[("cookie", "a=1"), ("cookie", "sid=7")], &named),
            Asks::Own
        );
        assert_eq!(asks("GET", &[("authorization", "Basic x")], &named), FREE);
    }
}
