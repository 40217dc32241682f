use http::{HeaderValue, Request};
use proptest::prelude::*;

use super::*;

const BOUNDS: HeadBounds = HeadBounds {
    fields: 100,
    bytes: 10_000,
};

fn head(version: Version, method: &str, uri: &str, fields: &[(&'static str, &str)]) -> Parts {
    let mut request = Request::builder().version(version).method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(HeaderName::from_static(name), *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn verdict(version: Version, method: &str, uri: &str, fields: &[(&'static str, &str)]) -> Result<String, u32> {
    let mut head = head(version, method, uri, fields);
    check(&mut head, BOUNDS)
        .map(|authority| authority.host)
        .map_err(|fault| fault.code.number)
}

#[test]
fn a_head_may_have_so_many_bytes_in_all() {
    let host = ("host", "a.example"); // 17 bytes with ": " and the line's end
    for (target, value, fits) in [
        (1, 10_000 - 17 - 1 - 5, true),
        (1, 10_000 - 17 - 1 - 4, false),
        (9978, 0, true),
        (9979, 0, false),
    ] {
        let (uri, value) = (format!("/{}", "t".repeat(target - 1)), "v".repeat(value));
        let outcome = verdict(Version::HTTP_11, "GET", &uri, &[host, ("x", &value)]);
        assert_eq!(outcome.is_ok(), fits, "{target} {} {outcome:?}", value.len());
    }
}

#[test]
fn rows_of_http_1() {
    for (uri, fields, expected) in [
        ("/", &[("host", "a.example")] as &[_], Ok("a.example")),
        ("/", &[("host", "A.Example.:8443")], Ok("a.example")),
        ("/", &[("host", "[::1]:80")], Ok("[::1]")),
        ("http://a.example/x", &[("host", "A.example")], Ok("a.example")),
        ("/", &[], Err(1006)),
        ("/", &[("host", "")], Err(1006)),
        ("/", &[("host", "a"), ("host", "a")], Err(1006)),
        ("/", &[("host", "a/x")], Err(1006)),
        ("/", &[("host", "a@b")], Err(1006)),
        ("/", &[("host", "a b")], Err(1006)),
        ("/", &[("host", "a%2eb")], Err(1006)),
        ("/", &[("host", "a:b")], Err(1006)),
        ("/", &[("host", "a:99999")], Err(1006)),
        ("/", &[("host", "a:80:90")], Err(1006)),
        ("/", &[("host", ".a.example")], Err(1006)),
        ("/", &[("host", "a..example")], Err(1006)),
        ("/", &[("host", ".")], Err(1006)),
        ("/", &[("host", "[::1")], Err(1006)),
        ("/", &[("host", "[nope]")], Err(1006)),
        ("/", &[("host", "::1")], Err(1006)),
        ("http://b.example/x", &[("host", "a.example")], Err(1006)),
        ("http://u@a.example/x", &[("host", "u@a.example")], Err(1006)),
        ("/", &[("host", "a"), ("transfer-encoding", "chunked")], Ok("a")),
        ("/", &[("host", "a"), ("transfer-encoding", "Chunked")], Ok("a")),
        ("/", &[("host", "a"), ("transfer-encoding", "gzip, chunked")], Err(1011)),
        (
            "/",
            &[("host", "a"), ("transfer-encoding", "chunked, chunked")],
            Err(1011),
        ),
        (
            "/",
            &[
                ("host", "a"),
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            Err(1011),
        ),
        ("/", &[("host", "a"), ("transfer-encoding", "identity")], Err(1011)),
        (
            "/",
            &[("host", "a"), ("content-length", "3"), ("content-length", "3")],
            Err(1006),
        ),
    ] {
        assert_eq!(
            verdict(Version::HTTP_11, "POST", uri, fields),
            expected.map(str::to_owned),
            "{uri} {fields:?}"
        );
    }
}

#[test]
fn rows_of_http_2() {
    let uri = "https://a.example/";
    for (fields, expected) in [
        (&[] as &[_], Ok("a.example")),
        (&[("host", "a.example")], Ok("a.example")),
        (&[("te", "trailers")], Ok("a.example")),
        (&[("host", "b.example")], Err(1006)),
        (&[("te", "gzip")], Err(1006)),
        (&[("te", "trailers"), ("te", "gzip")], Err(1006)),
        (&[("connection", "close")], Err(1006)),
        (&[("transfer-encoding", "chunked")], Err(1006)),
        (&[("keep-alive", "1")], Err(1006)),
        (&[("proxy-connection", "close")], Err(1006)),
        (&[("upgrade", "websocket")], Err(1006)),
        (&[("content-length", "3"), ("content-length", "3")], Err(1006)),
    ] {
        assert_eq!(
            verdict(Version::HTTP_2, "GET", uri, fields),
            expected.map(str::to_owned),
            "{fields:?}"
        );
    }
}

#[test]
fn connect_is_served_for_websockets_alone() {
    assert_eq!(
        verdict(
            Version::HTTP_11,
            "CONNECT",
            "a.example:443",
            &[("host", "a.example:443")]
        ),
        Err(1015)
    );
    for (protocol, expected) in [("websocket", Ok("a.example".to_owned())), ("connect-udp", Err(1015))] {
        let mut head = head(Version::HTTP_2, "CONNECT", "https://a.example/chat", &[]);
        head.extensions.insert(hyper::ext::Protocol::from_static(protocol));
        assert_eq!(
            check(&mut head, BOUNDS)
                .map(|a| a.host)
                .map_err(|fault| fault.code.number),
            expected
        );
    }
}

#[test]
fn fields_are_counted_and_cookie_crumbs_once() {
    let mut parts = head(Version::HTTP_2, "GET", "https://a.example/", &[]);
    for crumb in 0..300 {
        parts
            .headers
            .append("cookie", HeaderValue::from_str(&format!("c{crumb}=1")).unwrap());
    }
    for n in 0..99 {
        parts.headers.append(
            HeaderName::try_from(format!("x-{n}")).unwrap(),
            HeaderValue::from_static("1"),
        );
    }
    assert!(check(&mut parts, BOUNDS).is_ok());
    parts.headers.append("x-one-more", HeaderValue::from_static("1"));
    assert_eq!(check(&mut parts, BOUNDS).unwrap_err().code.number, 1007);
}

#[test]
fn names_with_an_underscore_are_dropped() {
    let mut parts = head(
        Version::HTTP_11,
        "GET",
        "/",
        &[("host", "a"), ("x_forwarded_for", "1"), ("accept", "x")],
    );
    check(&mut parts, BOUNDS).unwrap();
    assert_eq!(
        parts.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
        ["host", "accept"]
    );
}

proptest! {
    #[test]
    fn any_text_is_a_host_or_refused_and_a_host_is_harmless(text in ".{0,300}") {
        if let Some(host) = parse_host(&text) {
            prop_assert!(host.len() <= 255);
            prop_assert!(host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._[]:".contains(&b)));
        }
    }
}
