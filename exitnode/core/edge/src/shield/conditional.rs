//! What of a stored answer a visitor needs: all, a part (RFC 9110, 14), or nothing because it has it (13). Pure.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Needs {
    All,
    /// 304.
    Nothing,
    /// 206.
    Part(Range<usize>),
    /// 416: it asks for bytes that there are none of.
    Beyond,
}

/// By what a visitor tells versions apart: ETag and Last-Modified of the answer.
pub(super) fn needs(asked: &HeaderMap, answer: &HeaderMap, length: usize) -> Needs {
    if has_it(asked, answer) {
        return Needs::Nothing;
    }
    match asked.get(header::RANGE) {
        Some(range) if is_same_version(asked, answer) => part(range, length),
        _ => Needs::All,
    }
}

/// The visitor's copy is this answer.
pub(super) fn has_it(asked: &HeaderMap, answer: &HeaderMap) -> bool {
    if asked.contains_key(header::IF_NONE_MATCH) {
        let etag = answer.get(header::ETAG).map(HeaderValue::as_bytes);
        let mut listed = asked.get_all(header::IF_NONE_MATCH).iter().map(HeaderValue::as_bytes);
        return listed.any(|list| list.trim_ascii() == b"*" || etag.is_some_and(|etag| lists(list, etag)));
    }
    let Some(since) = asked.get(header::IF_MODIFIED_SINCE) else {
        return false;
    };
    let Some(modified) = answer.get(header::LAST_MODIFIED) else {
        return false;
    };
    since == modified || matches!((date(since), date(modified)), (Some(since), Some(modified)) if modified <= since)
}

/// Fields of an answer that a 304 does not repeat (RFC 9110, 15.4.5).
pub(super) const OF_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_RANGE,
];

/// A list of tags has this one, by weak comparison. A tag has no quotes inside, so it can be looked for as text.
fn lists(list: &[u8], etag: &[u8]) -> bool {
    let opaque = etag.strip_prefix(b"W/").unwrap_or(etag);
    opaque.len() >= 2 && list.windows(opaque.len()).any(|part| part == opaque)
}

/// If-Range: a part is of use only if the rest is of the same version. Strong comparison.
fn is_same_version(asked: &HeaderMap, answer: &HeaderMap) -> bool {
    let Some(version) = asked.get(header::IF_RANGE) else {
        return true;
    };
    let name = if version.as_bytes().ends_with(b"\"") {
        header::ETAG
    } else {
        header::LAST_MODIFIED
    };
    answer.get(name) == Some(version) && !version.as_bytes().starts_with(b"W/")
}

/// One range of bytes. What is not understood, and several at once, are answered with all (RFC 9110, 14.2).
fn part(range: &HeaderValue, length: usize) -> Needs {
    let read = || {
        let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
        let number = |text: &str| match text {
            "" => Some(None),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Some(digits.parse().unwrap_or(usize::MAX)))
            }
            _ => None,
        };
        Some((number(first)?, number(last)?))
    };
    match read() {
        Some((Some(first), _)) if first >= length => Needs::Beyond,
        Some((Some(first), Some(last))) if last < first => Needs::All,
        Some((Some(first), last)) => Needs::Part(first..last.map_or(length, |last| last.saturating_add(1).min(length))),
        Some((None, Some(0))) => Needs::Beyond,
        Some((None, Some(_))) if length == 0 => Needs::Beyond,
        Some((None, Some(suffix))) => Needs::Part(length.saturating_sub(suffix)..length),
        Some((None, None)) | None => Needs::All,
    }
}

fn date(value: &HeaderValue) -> Option<std::time::SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        all.iter().map(field).collect()
    }

    #[test]
    fn a_visitor_that_has_it_gets_nothing() {
        let answer = fields(&[("etag", "W/\"a\""), ("last-modified", "Tue, 24 Nov 2026 10:00:00 GMT")]);
        for (asked, has) in [
            (("if-none-match", "\"a\""), true),
            (("if-none-match", "\"b\", W/\"a\""), true),
            (("if-none-match", "*"), true),
            (("if-none-match", "\"b\""), false),
            (("if-none-match", "a"), false),
            (("if-modified-since", "Tue, 24 Nov 2026 10:00:00 GMT"), true),
            (("if-modified-since", "Tue, 24 Nov 2026 11:00:00 GMT"), true),
            (("if-modified-since", "Tue, 24 Nov 2026 09:00:00 GMT"), false),
            (("if-modified-since", "yesterday"), false),
        ] {
            assert_eq!(has_it(&fields(&[asked]), &answer), has, "{asked:?}");
        }
        // The tag decides alone where there is one.
        let both = fields(&[
            ("if-none-match", "\"b\""),
            ("if-modified-since", "Tue, 24 Nov 2026 10:00:00 GMT"),
        ]);
        assert!(!has_it(&both, &answer));
        assert!(!has_it(&fields(&[("if-none-match", "\"a\"")]), &fields(&[])));
    }

    #[test]
    fn ranges_are_cut_as_the_standard_says() {
        for (range, expected) in [
            ("bytes=0-0", Needs::Part(0..1)),
            ("bytes=2-5", Needs::Part(2..6)),
            ("bytes=8-", Needs::Part(8..10)),
            ("bytes=8-99", Needs::Part(8..10)),
            ("bytes=-3", Needs::Part(7..10)),
            ("bytes=-99", Needs::Part(0..10)),
            ("bytes=10-", Needs::Beyond),
            ("bytes=99999999999999999999-", Needs::Beyond),
            ("bytes=-0", Needs::Beyond),
            ("bytes=5-2", Needs::All),
            ("bytes=0-1,4-5", Needs::All),
            ("bytes=+1-2", Needs::All),
            ("bytes=-", Needs::All),
            ("lines=1-2", Needs::All),
        ] {
            let asked = fields(&[("range", range)]);
            assert_eq!(needs(&asked, &fields(&[]), 10), expected, "{range}");
        }
    }

    #[test]
    fn a_part_of_another_version_is_not_given() {
        let answer = fields(&[("etag", "\"a\""), ("last-modified", "Tue, 24 Nov 2026 10:00:00 GMT")]);
        let part = Needs::Part(0..2);
        for (if_range, expected) in [
            ("\"a\"", &part),
            ("Tue, 24 Nov 2026 10:00:00 GMT", &part),
            ("\"b\"", &Needs::All),
            ("W/\"a\"", &Needs::All),
            ("Tue, 24 Nov 2026 11:00:00 GMT", &Needs::All),
        ] {
            let asked = fields(&[("range", "bytes=0-1"), ("if-range", if_range)]);
            assert_eq!(&needs(&asked, &answer, 10), expected, "{if_range}");
        }
        let weak = fields(&[("etag", "W/\"a\"")]);
        let asked = fields(&[("range", "bytes=0-1"), ("if-range", "W/\"a\"")]);
        assert_eq!(needs(&asked, &weak, 10), Needs::All);
    }
}
