//! Our cookies in a request: found, taken out before the app sees them, and replaced by a newer one. Pure.
//!
//! Browsers compare the prefix `__Host-` without case; so does the taking out.

use http::{HeaderMap, HeaderValue, header};

/// Who a visitor is, signed (access/sessions.rs).
pub(crate) const SESSION: &str = "__Host-hawse";
/// First chunk of what renews a session: sealed, the identity service's.
pub(crate) const REFRESH: &str = "__Host-hawse-refresh-0";
/// All of ours begin so.
const OURS: &[u8] = b"__host-hawse";

/// The first cookie of a name.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    pairs(headers).find_map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        let (found, value) = pair.split_once('=')?;
        (found == name).then_some(value)
    })
}

/// A Cookie field with ours alone: what the identity service needs to see.
pub(crate) fn ours(headers: &HeaderMap) -> Option<HeaderValue> {
    joined(pairs(headers).filter(|pair| is_ours(pair)))
}

/// Takes ours out.
pub(crate) fn strip(headers: &mut HeaderMap) {
    if !pairs(headers).any(is_ours) {
        return;
    }
    let left = joined(pairs(headers).filter(|pair| !is_ours(pair)));
    match left {
        Some(left) => headers.insert(header::COOKIE, left),
        None => headers.remove(header::COOKIE),
    };
}

/// Puts a newer session in the place of the one that was sent.
pub(crate) fn renew(headers: &mut HeaderMap, session: &str) {
    let name = format!("{SESSION}=");
    let newer = format!("{name}{session}");
    let others = pairs(headers).filter(|pair| !pair.starts_with(name.as_bytes()));
    if let Some(field) = joined(std::iter::once(newer.as_bytes()).chain(others)) {
        headers.insert(header::COOKIE, field);
    }
}

/// The value that a Set-Cookie field gives the session.
pub(crate) fn session_of(field: &HeaderValue) -> Option<&str> {
    let rest = field.to_str().ok()?.strip_prefix(SESSION)?.strip_prefix('=')?;
    Some(rest.split(';').next().unwrap_or(rest))
}

/// Whether a Set-Cookie field, or a pair of Cookie, is of ours.
pub(crate) fn is_ours(pair: &[u8]) -> bool {
    pair.len() >= OURS.len() && pair[..OURS.len()].eq_ignore_ascii_case(OURS)
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(header::COOKIE).iter();
    fields
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

fn joined<'a>(pairs: impl Iterator<Item = &'a [u8]>) -> Option<HeaderValue> {
    let pairs: Vec<&[u8]> = pairs.collect();
    if pairs.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&pairs.join(&b"; "[..])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(fields: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::COOKIE, field.parse().unwrap());
        }
        headers
    }

    fn text(headers: &HeaderMap) -> Option<&str> {
        headers.get(header::COOKIE).map(|field| field.to_str().unwrap())
    }

    #[test]
    fn what_is_ours_never_reaches_the_app() {
        for (fields, left) in [
            (&["a=1; __Host-hawse=v1.x.y; b=2"][..], Some("a=1; b=2")),
            (&["__Host-hawse=v", "c=3", "__host-HAWSE-refresh-0=w"], Some("c=3")),
            (&["__Host-hawse-flow-abc=z"], None),
            (&["__Host-hawse"], None),
            (
                &["__Host-hawk=1;  __Host-other=2"],
                Some("__Host-hawk=1;  __Host-other=2"),
            ),
            (&[" a=1 ;;__Host-hawse-refresh-12=; b"], Some("a=1; b")),
        ] {
            let mut headers = sent(fields);
            strip(&mut headers);
            assert_eq!(text(&headers), left, "{fields:?}");
        }
    }

    #[test]
    fn one_is_found_and_a_newer_one_takes_its_place() {
        let mut headers = sent(&["a=1; __Host-hawse=old", "__Host-hawse-refresh-0=r"]);
        assert_eq!(find(&headers, SESSION), Some("old"));
        assert_eq!(find(&headers, REFRESH), Some("r"));
        assert_eq!(find(&headers, "b"), None);
        assert_eq!(ours(&headers).unwrap(), "__Host-hawse=old; __Host-hawse-refresh-0=r");
        renew(&mut headers, "new");
        assert_eq!(find(&headers, SESSION), Some("new"));
        assert_eq!(text(&headers), Some("__Host-hawse=new; a=1; __Host-hawse-refresh-0=r"));
        let field = HeaderValue::from_static("__Host-hawse=v1.a.b; Path=/; Secure");
        assert_eq!(session_of(&field), Some("v1.a.b"));
        assert_eq!(
            session_of(&HeaderValue::from_static("__Host-hawse-refresh-0=x; Path=/")),
            None
        );
    }
}
