//! Requests that two readers could understand differently: each is refused, or reaches the app in one unmistakable form.
//!
//! The app records every byte it gets. What is checked everywhere: no more requests than were meant, none of the smuggled one.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    clippy::large_futures,
    reason = "tests panic, own their tasks, are tables, and don't care about the size of a future"
)]

mod support;

use std::sync::{Arc, Mutex};

use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What the app got, all connections together.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    fn requests(&self) -> usize {
        self.text().matches(" HTTP/1.1\r\n").count()
    }
}

/// Answers whatever looks like the end of a request, and records.
async fn scene() -> (Scene, Seen) {
    let seen = Seen::default();
    let record = seen.clone();
    let scene = Scene::new(move |mut stream: TcpStream| {
        let record = record.clone();
        async move {
            let mut buf = [0; 4096];
            let mut here = Vec::new();
            while let Ok(count @ 1..) = stream.read(&mut buf).await {
                here.extend_from_slice(&buf[..count]);
                record.0.lock().unwrap().extend_from_slice(&buf[..count]);
                if is_whole(&here) {
                    here.clear();
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                        .await;
                }
            }
        }
    })
    .await;
    (scene, seen)
}

/// A request as an app would read it: to its last chunk, or to its length.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    if head.contains("\r\ntransfer-encoding:") {
        return body.ends_with("0\r\n\r\n");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

/// Sends the bytes, reads answers until the connection ends or one is no 200; the statuses.
async fn statuses(scene: &Scene, bytes: &[u8]) -> Vec<u16> {
    let mut stream = scene.h1().await;
    stream.write_all(bytes).await.unwrap();
    // TLS half-close: the edge sees that nothing follows.
    let _ = stream.shutdown().await;
    let mut all = Vec::new();
    loop {
        let reply = read_reply(&mut stream, false).await;
        if reply.status == 0 {
            return all;
        }
        all.push(reply.status);
    }
}

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n{body}").into_bytes()
}

const HIDDEN: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: shop.t.example\r\n\r\n";

#[tokio::test]
async fn unclear_framing_is_refused_before_the_app_sees_anything() {
    for (name, request) in [
        (
            "TE not chunked last",
            post("transfer-encoding: chunked, gzip\r\n", HIDDEN),
        ),
        ("TE with a coding", post("transfer-encoding: gzip, chunked\r\n", HIDDEN)),
        (
            "TE chunked twice in one",
            post("transfer-encoding: chunked, chunked\r\n", HIDDEN),
        ),
        (
            "TE twice",
            post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", HIDDEN),
        ),
        (
            "TE twice, one identity",
            post("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", HIDDEN),
        ),
        ("TE xchunked", post("transfer-encoding: xchunked\r\n", HIDDEN)),
        ("TE with VT", post("transfer-encoding: \x0bchunked\r\n", HIDDEN)),
        ("TE obs-fold", post("transfer-encoding:\r\n chunked\r\n", HIDDEN)),
        ("space before colon", post("transfer-encoding : chunked\r\n", HIDDEN)),
        ("bare CR", post("x: a\rtransfer-encoding: chunked\r\n", HIDDEN)),
        ("NUL", post("x: a\0b\r\n", "")),
        (
            "TE in HTTP/1.0",
            format!("POST / HTTP/1.0\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n{HIDDEN}").into(),
        ),
        ("CL unequal", post("content-length: 3\r\ncontent-length: 4\r\n", "abcd")),
        ("CL list", post("content-length: 3, 3\r\n", "abc")),
        ("CL plus", post("content-length: +3\r\n", "abc")),
        ("CL minus", post("content-length: -3\r\n", "abc")),
        ("CL hex", post("content-length: 0x3\r\n", "abc")),
        ("CL huge", post("content-length: 99999999999999999999\r\n", "abc")),
        ("CL empty", post("content-length: \r\n", "abc")),
        ("CL letters", post("content-length: 3a\r\n", "abc")),
        ("line without colon", post("nonsense\r\n", "")),
        (
            "tab in the request line",
            format!("GET\t/\tHTTP/1.1\r\nhost: {HOST}\r\n\r\n").into(),
        ),
        ("two spaces", format!("GET  / HTTP/1.1\r\nhost: {HOST}\r\n\r\n").into()),
        (
            "HTTP/2.0 in the line",
            format!("GET / HTTP/2.0\r\nhost: {HOST}\r\n\r\n").into(),
        ),
        ("HTTP/1.2", format!("GET / HTTP/1.2\r\nhost: {HOST}\r\n\r\n").into()),
        ("HTTP/0.9", b"GET /\r\n".to_vec()),
        ("no Host", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        (
            "two Host",
            format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nhost: {HOST}\r\n\r\n").into(),
        ),
        (
            "Host with a path",
            format!("GET / HTTP/1.1\r\nhost: {HOST}/x\r\n\r\n").into(),
        ),
        (
            "Host with userinfo",
            format!("GET / HTTP/1.1\r\nhost: u@{HOST}\r\n\r\n").into(),
        ),
        (
            "Host unlike the target",
            format!("GET http://{OTHER}/ HTTP/1.1\r\nhost: {HOST}\r\n\r\n").into(),
        ),
        (
            "CONNECT",
            format!("CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\n\r\n").into(),
        ),
    ] {
        let (scene, seen) = scene().await;
        let answers = statuses(&scene, &request).await;
        let refused = answers.iter().all(|status| matches!(status, 400 | 405 | 501)) && answers.len() <= 1;
        assert!(refused, "{name}: {answers:?}");
        assert_eq!(seen.text(), "", "{name}");
    }
}

#[tokio::test]
async fn what_is_taken_reaches_the_app_as_one_request_with_one_framing() {
    for (name, request, framing) in [
        (
            "TE and CL",
            post(
                "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
                "3\r\nabc\r\n0\r\n\r\n",
            ),
            "transfer-encoding",
        ),
        (
            "CL and TE",
            post(
                "content-length: 4\r\ntransfer-encoding: chunked\r\n",
                "3\r\nabc\r\n0\r\n\r\n",
            ),
            "transfer-encoding",
        ),
        (
            "chunk extension",
            post("transfer-encoding: chunked\r\n", "3;a=b\r\nabc\r\n0\r\n\r\n"),
            "transfer-encoding",
        ),
        (
            "bare LF in the head",
            format!("POST / HTTP/1.1\nhost: {HOST}\ncontent-length: 3\n\nabc").into(),
            "content-length",
        ),
        (
            "CL named in Connection",
            post("connection: content-length, host\r\ncontent-length: 3\r\n", "abc"),
            "content-length",
        ),
        (
            "trailer CL",
            post(
                "transfer-encoding: chunked\r\ntrailer: content-length, host\r\n",
                "3\r\nabc\r\n0\r\ncontent-length: 99\r\nhost: x\r\n\r\n",
            ),
            "transfer-encoding",
        ),
        (
            "absolute target",
            format!("POST http://{HOST}/ HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 3\r\n\r\nabc").into(),
            "content-length",
        ),
    ] {
        let (scene, seen) = scene().await;
        let answers = statuses(&scene, &request).await;
        assert_eq!(answers, [200], "{name}");
        let text = seen.text();
        assert_eq!(seen.requests(), 1, "{name}: {text}");
        assert!(text.starts_with("POST / HTTP/1.1\r\n"), "{name}: {text}");
        let count = |field: &str| text.to_ascii_lowercase().matches(&format!("\r\n{field}:")).count();
        assert_eq!(
            (count(framing), count("content-length") + count("transfer-encoding")),
            (1, 1),
            "{name}: {text}"
        );
        assert_eq!(count("host"), 1, "{name}: {text}");
        assert!(text.contains("abc"), "{name}: {text}");
        assert!(!text.contains("a=b") && !text.contains("length: 99"), "{name}: {text}");
    }
}

#[tokio::test]
async fn bytes_behind_a_body_framed_twice_are_no_request() {
    // A reader that believes Content-Length sees the second request as body; we believe the chunks and close after them.
    let (scene, seen) = scene().await;
    let hidden = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: shop.t.example\r\n\r\n";
    let answers = statuses(
        &scene,
        &post("content-length: 60\r\ntransfer-encoding: chunked\r\n", hidden),
    )
    .await;
    assert_eq!(answers, [200]);
    assert!(!seen.text().contains("smuggled"), "{}", seen.text());
}

#[tokio::test]
async fn broken_chunks_are_refused_and_the_app_gets_no_clean_end() {
    for (name, body) in [
        ("negative", "-1\r\nabc\r\n0\r\n\r\n"),
        ("0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("overflow", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("LF in the extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        ("bare LF", "3\nabc\n0\n\n"),
        ("longer than said", "3\r\nabcd\r\n0\r\n\r\n"),
        ("shorter than said", "5\r\nabc\r\n0\r\n\r\n"),
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
    ] {
        let (scene, seen) = scene().await;
        let answers = statuses(&scene, &post("transfer-encoding: chunked\r\n", body)).await;
        assert!(answers.is_empty() || answers == [400], "{name}: {answers:?}");
        assert!(!seen.text().ends_with("0\r\n\r\n"), "{name}: {}", seen.text());
        assert!(seen.requests() <= 1, "{name}");
    }
}

/// What became of one HTTP/2 request: a status, or the connection or stream was ended.
#[derive(Debug, PartialEq)]
enum Fate {
    Status(String),
    Reset,
    GoAway,
    Closed,
}

async fn ask_h2(scene: &Scene, headers: &[u8], data: Option<&[u8]>) -> Fate {
    let mut stream = scene.raw_h2().await;
    let end = if data.is_none() { 1 } else { 0 };
    stream.write_all(&frame(1, 4 | end, 1, headers)).await.unwrap();
    if let Some(data) = data {
        let _ = stream.write_all(&frame(0, 1, 1, data)).await;
    }
    let frames = read_frames(&mut stream, |frames| {
        frames.iter().any(|(kind, ..)| matches!(kind, 1 | 3 | 7))
    })
    .await;
    match frames.last() {
        Some((1, _, _, block)) => Fate::Status(status_of(block)),
        Some((3, ..)) => Fate::Reset,
        Some((7, ..)) => Fate::GoAway,
        _ => Fate::Closed,
    }
}

/// The status of h2's header blocks: the static table's entry, or the literal after it.
fn status_of(block: &[u8]) -> String {
    match block.first() {
        Some(0x88) => "200".into(),
        Some(0x8c) => "400".into(),
        Some(0x8d) => "404".into(),
        other => format!("{other:?} {:?}", block.get(..8)),
    }
}

fn with(fields: &[(&str, &str)]) -> Vec<u8> {
    [get_block(), block(fields)].concat()
}

#[tokio::test]
async fn http_2_heads_that_an_http_1_app_could_misread_are_ended() {
    let (scene, seen) = scene().await;
    for (name, headers) in [
        ("upper case", with(&[("X-Upper", "1")])),
        ("connection", with(&[("connection", "close")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("keep-alive", with(&[("keep-alive", "1")])),
        ("proxy-connection", with(&[("proxy-connection", "1")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te", with(&[("te", "gzip")])),
        ("CR LF in a value", with(&[("x", "a\r\nsmuggled: 1")])),
        ("LF in a value", with(&[("x", "a\nsmuggled: 1")])),
        ("NUL in a value", with(&[("x", "a\0b")])),
        ("colon in a name", with(&[("x: y", "1")])),
        ("space in a name", with(&[("x y", "1")])),
        ("empty name", with(&[("", "1")])),
        ("two paths", [block(&[(":path", "/smuggled")]), get_block()].concat()),
        (
            "pseudo-field after fields",
            [block(&[("a", "b")]), get_block()].concat(),
        ),
        (
            "no path",
            block(&[(":method", "GET"), (":scheme", "https"), (":authority", HOST)]),
        ),
        ("unknown pseudo-field", with(&[(":smuggled", "1")])),
        (
            "space in the path",
            block(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", HOST),
                (":path", "/ HTTP/1.1\r\nx: y"),
            ]),
        ),
        (
            "space in the method",
            block(&[
                (":method", "GET /x HTTP/1.1"),
                (":scheme", "https"),
                (":authority", HOST),
                (":path", "/"),
            ]),
        ),
        (
            "userinfo",
            block(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "u@shop.t.example"),
                (":path", "/"),
            ]),
        ),
        ("host unlike authority", with(&[("host", OTHER)])),
        ("two hosts", with(&[("host", HOST), ("host", HOST)])),
        ("two CL", with(&[("content-length", "0"), ("content-length", "0")])),
    ] {
        let fate = ask_h2(&scene, &headers, None).await;
        let fine = matches!(&fate, Fate::Reset | Fate::GoAway | Fate::Closed) || fate == Fate::Status("400".into());
        assert!(fine, "{name}: {fate:?}");
        assert_eq!(seen.text(), "", "{name}");
    }
    assert_eq!(
        ask_h2(&scene, &get_block(), None).await,
        Fate::Status("200".into()),
        "the scene itself works"
    );
}

#[tokio::test]
async fn http_2_lengths_that_lie_are_ended_and_the_app_gets_no_whole_request() {
    for (said, sent) in [("3", b"abcde".as_slice()), ("5", b"abc")] {
        let (scene, seen) = scene().await;
        let fate = ask_h2(&scene, &with(&[("content-length", said)]), Some(sent)).await;
        assert!(
            matches!(fate, Fate::Reset | Fate::GoAway) || fate == Fate::Status("400".into()),
            "{said}: {fate:?}"
        );
        assert!(
            !seen.text().ends_with("abcde") && !seen.text().ends_with("abc\r\n0\r\n\r\n"),
            "{}",
            seen.text()
        );
    }
}
