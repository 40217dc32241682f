use http::{Request, Response};

use super::*;
use crate::visit::RequestIds;

fn rewritten(towards: Towards, request: http::request::Builder) -> request::Parts {
    rewritten_of(None, towards, request)
}

fn rewritten_of(identity: Option<&Identity>, towards: Towards, request: http::request::Builder) -> request::Parts {
    let mut head = request.body(()).unwrap().into_parts().0;
    let request_id = RequestIds::new([0; 16]).next();
    let told = Told {
        forwarded_for: Some(HeaderValue::from_static("203.0.113.7")),
        authority: &HeaderValue::from_static("Shop.example:443"),
        host: None,
        tls: false,
        request_id: &request_id,
        identity,
    };
    super::request(&mut head, towards, told).unwrap();
    head
}

fn text(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

const TOLD: [&str; 4] = [
    "x-forwarded-for: 203.0.113.7",
    "x-forwarded-host: Shop.example:443",
    "x-forwarded-proto: https",
    "x-hawse-request-id: 00000000000000000000000000000000",
];

fn told_and(fields: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = TOLD.iter().chain(fields).map(|line| (*line).to_owned()).collect();
    lines.sort();
    lines
}

#[test]
fn who_the_visitor_is_says_the_edge_alone() {
    let forged = Request::get("/")
        .header("x-hawse-user", "root")
        .header("x-hawse-groups", "admins")
        .header("x-hawse-assertion", "e30.e30.")
        .header("connection", "x-hawse-user");
    let identity = Identity::new("ada", Default::default());
    let head = rewritten_of(Some(&identity), Towards::Http1, forged);
    assert_eq!(
        text(&head.headers),
        told_and(&["host: Shop.example:443", "x-hawse-user: ada"])
    );
}

#[test]
fn towards_http_1_only_what_the_app_may_see_passes() {
    let head = rewritten(
        Towards::Http1,
        Request::post("https://shop.example/a?b")
            .version(Version::HTTP_2)
            .header("connection", "x-mine, keep-alive, content-length, host, , sp ace")
            .header("x-mine", "1")
            .header("keep-alive", "1")
            .header("proxy-connection", "1")
            .header("proxy-authorization", "secret")
            .header("te", "gzip, trailers;q=0.5")
            .header("transfer-encoding", "chunked")
            .header("upgrade", "h2c")
            .header("expect", "100-continue")
            .header("content-length", "3")
            .header("trailer", "x-sum")
            .header("x-forwarded-for", "6.6.6.6")
            .header("x-forwarded-user", "root")
            .header("x-hawse-anything", "1")
            .header("x-real-ip", "6.6.6.6")
            .header("forwarded", "for=6.6.6.6")
            .header("authorization", "Bearer x")
            .header("cookie", "a=1")
            .header("cookie", "b=2"),
    );
    assert_eq!(
        text(&head.headers),
        told_and(&[
            "authorization: Bearer x",
            "connection: te",
            "content-length: 3",
            "cookie: a=1; b=2",
            "host: Shop.example:443",
            "te: trailers",
            "trailer: x-sum",
        ])
    );
    assert_eq!(
        (head.uri.to_string().as_str(), head.version, head.method),
        ("/a?b", Version::HTTP_11, Method::POST)
    );
}

#[test]
fn towards_h2c_the_target_is_whole_and_there_is_no_host() {
    let head = rewritten(
        Towards::H2c,
        Request::get("/a")
            .header("host", "shop.example")
            .header("te", "trailers"),
    );
    assert_eq!(text(&head.headers), told_and(&["te: trailers"]));
    assert_eq!(
        (head.uri.to_string().as_str(), head.version),
        ("http://Shop.example:443/a", Version::HTTP_2)
    );
}

#[test]
fn a_websocket_becomes_an_upgrade() {
    let head = rewritten(
        Towards::WebSocket,
        Request::connect("https://shop.example/chat")
            .version(Version::HTTP_2)
            .header("te", "trailers"),
    );
    assert_eq!(
        text(&head.headers),
        told_and(&["connection: upgrade", "host: Shop.example:443", "upgrade: websocket"])
    );
    assert_eq!((head.method, head.uri.to_string().as_str()), (Method::GET, "/chat"));
}

#[test]
fn the_star_of_options_and_an_empty_path_are_kept_in_their_meaning() {
    assert_eq!(rewritten(Towards::Http1, Request::options("*")).uri.to_string(), "*");
    assert_eq!(
        rewritten(Towards::Http1, Request::get("https://shop.example"))
            .uri
            .to_string(),
        "/"
    );
}

#[test]
fn an_answer_loses_what_belonged_to_the_apps_connection() {
    let response = Response::builder()
        .version(Version::HTTP_10)
        .header("connection", "close, x-mine")
        .header("x-mine", "1")
        .header("keep-alive", "timeout=5")
        .header("transfer-encoding", "chunked")
        .header("content-length", "3")
        .header("x-hawse-error", "HAWSE-1001")
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2")
        .header("server", "app");
    let mut head = response.body(()).unwrap().into_parts().0;
    super::response(&mut head);
    assert_eq!(
        text(&head.headers),
        ["server: app", "set-cookie: a=1", "set-cookie: b=2"]
    );
    assert_eq!(head.version, Version::HTTP_11);
}

#[test]
fn trailers_cannot_speak_for_the_edge() {
    let mut fields = HeaderMap::new();
    for name in [
        "x-sum",
        "x_forwarded_for",
        "x-forwarded-for",
        "content-length",
        "host",
        "connection",
        "x-hawse-a",
    ] {
        fields.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
    }
    trailers(&mut fields);
    assert_eq!(text(&fields), ["x-sum: 1"]);
}

#[test]
fn the_app_behind_a_url_is_asked_under_its_own_host_and_told_the_public_one() {
    for (towards, uri) in [(Towards::Http1, "/a?b"), (Towards::H2c, "https://app.example:8443/a?b")] {
        let (mut head, ()) = http::Request::get("https://shop.t.example/a?b")
            .body(())
            .unwrap()
            .into_parts();
        let told = Told {
            forwarded_for: None,
            authority: &HeaderValue::from_static("shop.t.example"),
            host: Some("app.example:8443"),
            tls: true,
            request_id: &RequestIds::new([0; 16]).next(),
            identity: None,
        };
        super::request(&mut head, towards, told).unwrap();
        assert_eq!(head.uri, uri);
        assert_eq!(head.headers["x-forwarded-host"], "shop.t.example");
        let host = head.headers.get("host").map(|host| host.to_str().unwrap());
        assert_eq!(host, (towards == Towards::Http1).then_some("app.example:8443"));
    }
}
