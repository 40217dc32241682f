use std::time::Duration;

use hawse_proto::codes;
use http::Request;
use http_body_util::BodyExt;

use super::*;

fn audience(accept: &str, method: &str, host: &str) -> Audience {
    let request = Request::builder()
        .method(method)
        .uri("/")
        .header("accept", accept)
        .header("host", host);
    Audience::of_head(request.body(()).unwrap().into_parts().0)
}

async fn page(fault: &Fault, audience: &Audience, pages: &Pages) -> (http::response::Parts, String) {
    let (head, body) = respond(fault, audience, "id1", pages).into_parts();
    (
        head,
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap(),
    )
}

fn pages(name: &str, html: &str) -> Pages {
    Pages::of(&EdgeOptions {
        pages: [(name.to_owned(), html.into())].into(),
        ..EdgeOptions::default()
    })
}

#[tokio::test]
async fn a_program_gets_problem_details_with_the_code_in_header_and_body() {
    let fault = Fault::new(&codes::NO_AGENT, "last seen \"14\" min ago\n").retry_after(Duration::from_secs(5));
    let (head, text) = page(&fault, &audience("*/*", "GET", "a.example"), &Pages::default()).await;
    assert_eq!(head.status, 503);
    assert_eq!(head.headers["x-hawse-error"], "HAWSE-1002");
    assert_eq!(head.headers["content-type"], "application/problem+json");
    assert_eq!(head.headers["cache-control"], "no-store");
    assert_eq!(head.headers["retry-after"], "5");
    assert_eq!(
        text,
        "{\"type\":\"https://hawse.dev/errors/HAWSE-1002\",\"title\":\"No agent is connected for this tunnel.\",\
         \"detail\":\"last seen \\\"14\\\" min ago\\u000a\",\"code\":\"HAWSE-1002\",\"instance\":\"urn:hawse:request:id1\",\
         \"request_id\":\"id1\",\"status\":503}\n"
    );
}

#[tokio::test]
async fn a_browser_gets_the_page_with_its_slots_filled_and_escaped_once() {
    let pages = pages(
        "HAWSE-1003",
        "<style>p{color:red}</style>{host}|{request_id}|{detail}|{other}",
    );
    let fault = Fault::new(&codes::APP_REFUSED, "<script>{host}</script>");
    let host = "\"><script>{detail}";
    let (head, text) = page(&fault, &audience("text/html,*/*;q=0.8", "GET", host), &pages).await;
    assert_eq!(
        (head.status.as_u16(), &head.headers["content-type"]),
        (502, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert_eq!(
        text,
        "<style>p{color:red}</style>&quot;&gt;&lt;script&gt;{detail}|id1|&lt;script&gt;{host}&lt;/script&gt;|{other}"
    );
    assert!(!head.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_code_without_a_page_gets_the_plain_one() {
    let fault = Fault::new(&codes::APP_CLOSED, "");
    let (_, text) = page(
        &fault,
        &audience("text/html", "GET", "a.example"),
        &pages("HAWSE-1003", "x"),
    )
    .await;
    for part in ["The app closed the connection", "HAWSE-1005", "id1", "a.example"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn head_gets_the_same_head_and_no_body() {
    let fault = Fault::new(&codes::NO_SUCH_TUNNEL, "");
    let (head, text) = page(&fault, &audience("*/*", "HEAD", "a.example"), &Pages::default()).await;
    assert_eq!(text, "");
    assert_ne!(head.headers["content-length"], "0");
}

#[test]
fn html_is_for_those_who_ask_for_it() {
    for (accept, html) in [
        ("text/html", true),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
        ("application/json, text/html;q=0.1", true),
        ("application/json, text/html;q=0", false),
        ("*/*", false),
        ("", false),
        ("text/*", false),
    ] {
        assert_eq!(audience(accept, "GET", "a").html, html, "{accept}");
    }
}
