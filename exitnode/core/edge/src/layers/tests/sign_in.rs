use http::Request;

use super::*;
use crate::body;

fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(body::empty()).unwrap()
}

#[test]
fn browsers_that_open_a_page_go_to_the_login_and_nobody_else() {
    let page = ("accept", "text/html,application/xhtml+xml");
    for (method, fields, goes) in [
        ("GET", &[page][..], true),
        ("HEAD", &[page], true),
        ("GET", &[("sec-fetch-mode", "navigate")], true),
        ("GET", &[page, ("sec-fetch-mode", "cors")], false),
        ("GET", &[page, ("sec-fetch-mode", "no-cors")], false),
        ("POST", &[page, ("sec-fetch-mode", "navigate")], false),
        ("GET", &[("accept", "*/*")], false),
        ("GET", &[("accept", "application/json")], false),
        ("GET", &[], false),
        ("GET", &[page, ("upgrade", "websocket")], false),
        ("GET", &[page, ("authorization", "Basic eDp5")], false),
    ] {
        assert_eq!(
            login(&request(method, "/a", fields)).is_some(),
            goes,
            "{method} {fields:?}"
        );
    }
}

#[test]
fn the_page_to_return_to_is_one_parameter() {
    let page = [("sec-fetch-mode", "navigate")];
    for (target, location) in [
        ("/", "/.hawse/login?to=/"),
        (
            "/a/b?x=1&to=//evil.example",
            "/.hawse/login?to=/a/b%3Fx%3D1%26to%3D//evil.example",
        ),
        ("/%2e%2E", "/.hawse/login?to=/%252e%252E"),
        ("/~a-b_c.d", "/.hawse/login?to=/~a-b_c.d"),
    ] {
        assert_eq!(login(&request("GET", target, &page)).unwrap(), location);
    }
}

#[test]
fn only_the_refusal_of_somebody_unknown_becomes_the_way_to_the_login() {
    let login = HeaderValue::from_static("/.hawse/login?to=/");
    let gone = vec![HeaderValue::from_static("__Host-hawse=; Max-Age=0")];
    let refused = |code| Err(Fault::new(code, ""));
    let there = finish(refused(&codes::UNAUTHENTICATED), gone.clone(), Some(login.clone())).unwrap();
    assert_eq!(there.status(), StatusCode::SEE_OTHER);
    assert_eq!(there.headers()[header::LOCATION], login);
    assert_eq!(there.headers()[header::SET_COOKIE], gone[0]);
    assert_eq!(there.headers()[header::CACHE_CONTROL], "no-store");
    for (code, login) in [(&codes::FORBIDDEN, Some(login)), (&codes::UNAUTHENTICATED, None)] {
        let fault = finish(refused(code), gone.clone(), login).unwrap_err();
        assert_eq!(fault.code.number, code.number);
    }
    let mut app = Response::new(body::empty());
    app.headers_mut()
        .append(header::SET_COOKIE, HeaderValue::from_static("own=1"));
    let answer = finish(Ok(app), gone, None).unwrap();
    assert_eq!(answer.headers().get_all(header::SET_COOKIE).iter().count(), 2);
}
