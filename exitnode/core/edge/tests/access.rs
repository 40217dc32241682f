//! Access policies on real connections: who is let in over HTTP/1.1, 2 and 3, what the app sees of them, and that nothing opens
//! what cannot be checked. The table of decisions is in src/access/tests.rs.
#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "tests panic and don't care about the size of a future"
)]

mod support;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use hawse_proto::{core::EdgeOptions, ir};
use http_body_util::BodyExt;
use ir::access_policy::Mode;
use support::*;

const POLICY: &str = "p1";

/// Ada and bob, both with the password "secret", at the least cost.
fn users() -> String {
    let hash = bcrypt::hash("secret", 4).unwrap();
    format!("ada:{hash}\nbob:{hash}\n")
}

fn guarded(policies: &[&str]) -> ir::Tunnel {
    ir::Tunnel {
        required_features: vec!["access/1".into()],
        access_policy_uids: policies.iter().map(|uid| (*uid).to_owned()).collect(),
        ..tunnel("u1", HOST)
    }
}

fn policy(change: impl FnOnce(&mut ir::AccessPolicy)) -> ir::Object {
    let mut policy = ir::AccessPolicy {
        uid: POLICY.into(),
        mode: Mode::Any.into(),
        ..ir::AccessPolicy::default()
    };
    change(&mut policy);
    ir::Object {
        key: format!("access/{POLICY}"),
        object: Some(ir::object::Object::Access(policy)),
    }
}

fn passwords(policy: &mut ir::AccessPolicy) {
    policy.basic = Some(ir::Basic {
        material_id: "access/p1/basic".into(),
    });
}

fn loopback(policy: &mut ir::AccessPolicy) {
    policy.ip_ranges = Some(ir::IpRanges {
        allow: vec!["127.0.0.0/8".into()],
        deny: vec![],
    });
}

async fn scene() -> Scene {
    Scene::with(EdgeOptions::default(), guarded(&[POLICY]), echo).await
}

/// A scene whose policy takes passwords.
async fn with_passwords() -> Scene {
    let scene = scene().await;
    scene.edge.put_material("access/p1/basic", users().as_bytes()).unwrap();
    scene.edge.apply(policy(passwords)).unwrap();
    scene
}

fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

/// Status, code and body of one request over each protocol.
async fn ask_over_each(scene: &Scene, fields: &[(&str, &str)]) -> Vec<(u16, String, String)> {
    let mut raw = format!("GET /a HTTP/1.1\r\nhost: {HOST}\r\n");
    let build = || {
        let builder = request("GET", "/a");
        fields
            .iter()
            .fold(builder, |builder, (name, value)| builder.header(*name, *value))
    };
    for (name, value) in fields {
        raw += &format!("{name}: {value}\r\n");
    }
    let one = scene.ask((raw + "\r\n").as_bytes()).await;
    let mut found = vec![(one.status, one.code().to_owned(), one.text())];
    let (head, body) = soon(scene.h2().await.send_request(build().body(no_body()).unwrap()))
        .await
        .unwrap()
        .into_parts();
    let code = head
        .headers
        .get("x-hawse-error")
        .map_or("", |code| code.to_str().unwrap());
    let text = soon(body.collect()).await.unwrap().to_bytes().to_vec();
    found.push((head.status.as_u16(), code.to_owned(), String::from_utf8(text).unwrap()));
    let three = scene.h3().await.ask(build().body(Bytes::new()).unwrap()).await.unwrap();
    found.push((three.status(), three.code().to_owned(), three.text()));
    found
}

#[tokio::test]
async fn over_each_protocol_the_known_come_in_and_the_app_learns_who_they_are_and_not_how() {
    let scene = with_passwords().await;
    let fields = [
        ("authorization", basic("ada:secret")),
        ("x-hawse-user", "root".to_owned()),
        ("x_hawse_user", "root".to_owned()),
        ("x-hawse-groups", "admins".to_owned()),
        ("x-hawse-assertion", "e30.e30.".to_owned()),
        ("cookie", "a=1".to_owned()),
    ];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for (status, _, seen) in ask_over_each(&scene, &fields).await {
        assert_eq!(status, 200, "{seen}");
        let seen = seen.to_ascii_lowercase();
        let mut ours: Vec<_> = seen.lines().filter(|line| line.contains("hawse")).collect();
        ours.sort_unstable();
        assert_eq!(ours.len(), 2, "{seen}");
        assert!(ours[0].starts_with("x-hawse-request-id: "), "{seen}");
        assert_eq!(ours[1], "x-hawse-user: ada");
        assert!(
            !seen.contains("authorization") && seen.contains("cookie: a=1"),
            "{seen}"
        );
    }
}

#[tokio::test]
async fn over_each_protocol_nobody_else_comes_in_and_the_app_hears_nothing_of_it() {
    let scene = with_passwords().await;
    let wrong = basic("ada:Secret");
    let right = basic("ada:secret");
    let cases: [&[(&str, &str)]; 5] = [
        &[],
        &[("authorization", &wrong)],
        &[("authorization", "Bearer x")],
        &[("authorization", &right), ("authorization", &right)],
        &[("x-hawse-user", "ada"), ("cookie", "__Host-hawse=v1.x.y")],
    ];
    for fields in cases {
        for (status, code, _) in ask_over_each(&scene, fields).await {
            assert_eq!((status, code.as_str()), (401, "HAWSE-1018"), "{fields:?}");
        }
    }
    assert_eq!(scene.opened(), 0);
    assert_eq!(scene.counters().errors["HAWSE-1018"], 15);
}

#[tokio::test]
async fn browsers_get_a_page_and_programs_a_problem_and_both_the_challenge() {
    let scene = with_passwords().await;
    for (accept, kind) in [("text/html", "text/html"), ("*/*", "application/problem+json")] {
        let reply = scene
            .ask(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\naccept: {accept}\r\n\r\n").as_bytes())
            .await;
        assert_eq!(reply.status, 401);
        assert!(reply.headers["content-type"].starts_with(kind));
        assert_eq!(
            reply.headers["www-authenticate"],
            "Basic realm=\"shop.t.example\", charset=\"UTF-8\""
        );
        assert_eq!(reply.headers["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn a_websocket_is_asked_like_any_other_request() {
    let scene = with_passwords().await;
    let reply = scene
        .ask(
            b"GET / HTTP/1.1\r\nhost: shop.t.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    assert_eq!((reply.status, reply.code()), (401, "HAWSE-1018"));
    let mut visitor = scene.h2_after_settings().await;
    let mut connect = http::Request::connect(format!("https://{HOST}/"))
        .body(no_body())
        .unwrap();
    connect
        .extensions_mut()
        .insert(hyper::ext::Protocol::from_static("websocket"));
    assert_eq!(soon(visitor.send_request(connect)).await.unwrap().status(), 401);
    assert_eq!(scene.opened(), 0);
}

/// What the visitor gets now.
async fn now(scene: &Scene) -> (u16, String) {
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {HOST}\r\nauthorization: {}\r\n\r\n",
        basic("ada:secret")
    );
    let reply = scene.ask(request.as_bytes()).await;
    (reply.status, reply.code().to_owned())
}

#[tokio::test]
async fn nothing_that_happens_to_a_policy_opens_its_tunnel() {
    let scene = scene().await;
    let open = (200, String::new());
    let closed = (503, "HAWSE-1020".to_owned());
    assert_eq!(now(&scene).await, closed, "the policy is not there yet");
    assert!(scene.edge.apply(policy(passwords)).unwrap_err().contains("Secret"));
    assert_eq!(now(&scene).await, closed, "its material is not there yet");
    scene.edge.put_material("access/p1/basic", users().as_bytes()).unwrap();
    assert_eq!(now(&scene).await, open);
    scene.edge.remove("material/access/p1/basic");
    assert_eq!(now(&scene).await, closed);
    scene.edge.put_material("access/p1/basic", users().as_bytes()).unwrap();
    assert_eq!(now(&scene).await, open);
    let broken = policy(|policy| policy.broken = "The provider has never been reached.".into());
    assert_eq!(
        scene.edge.apply(broken),
        Err("The provider has never been reached.".into())
    );
    assert_eq!(now(&scene).await, closed);
    let reply = scene.ask(b"GET / HTTP/1.1\r\nhost: shop.t.example\r\n\r\n").await;
    assert!(reply.text().contains("never been reached"), "the cause is named");
    scene.edge.apply(policy(loopback)).unwrap();
    assert_eq!(now(&scene).await, open);
    scene.edge.remove("access/p1");
    assert_eq!(now(&scene).await, closed);
}

#[tokio::test]
async fn an_edit_that_is_refused_and_changes_who_may_come_in_closes_the_tunnel() {
    let scene = Scene::with(EdgeOptions::default(), tunnel("u1", HOST), echo).await;
    assert_eq!(now(&scene).await.0, 200);
    let mut bad = guarded(&[POLICY]);
    bad.max_concurrent = u32::MAX;
    assert!(scene.edge.apply(object(bad)).is_err());
    assert_eq!(now(&scene).await, (503, "HAWSE-1008".into()));
    scene.edge.apply(object(guarded(&[POLICY]))).unwrap();
    assert_eq!(now(&scene).await, (503, "HAWSE-1020".into()));
    scene.edge.apply(policy(loopback)).unwrap();
    assert_eq!(now(&scene).await.0, 200);
    let mut of_tomorrow = guarded(&[POLICY]);
    of_tomorrow.required_features.push("access/9".into());
    assert!(scene.edge.apply(object(of_tomorrow)).is_err());
    assert_eq!(now(&scene).await, (503, "HAWSE-1008".into()));
}

#[tokio::test]
async fn a_policy_under_another_ones_key_is_refused() {
    let scene = scene().await;
    let mut wrong = policy(loopback);
    wrong.key = "access/p2".into();
    assert!(scene.edge.apply(wrong).unwrap_err().contains("access/p2"));
    assert_eq!(now(&scene).await, (503, "HAWSE-1020".into()));
}

#[tokio::test]
async fn who_guesses_is_made_to_wait_and_who_is_known_is_not() {
    let scene = with_passwords().await;
    assert_eq!(now(&scene).await.0, 200);
    let mut visitor = scene.h2().await;
    let guesses: Vec<_> = (0..30)
        .map(|number| {
            let guess = basic(&format!("ada:{number}"));
            visitor.send_request(
                request("GET", "/")
                    .header("authorization", guess)
                    .body(no_body())
                    .unwrap(),
            )
        })
        .collect();
    let mut not_tried = 0;
    for guess in guesses {
        let answer = soon(guess).await.unwrap();
        assert_eq!(answer.status(), 401);
        not_tried += usize::from(answer.headers().contains_key("retry-after"));
    }
    assert_eq!(not_tried, 20, "ten are tried, also when all come at once");
    let guess = format!(
        "GET / HTTP/1.1\r\nhost: {HOST}\r\nauthorization: {}\r\n\r\n",
        basic("bob:secret")
    );
    let reply = scene.ask(guess.as_bytes()).await;
    assert_eq!(reply.status, 401, "right, but this address has guessed too often");
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(now(&scene).await.0, 200, "verified before");
}

#[tokio::test]
async fn many_requests_that_bring_a_password_for_the_first_time_at_once_are_all_let_in() {
    let scene = with_passwords().await;
    let mut visitor = scene.h2().await;
    let asked: Vec<_> = (0..40)
        .map(|_| {
            let request = request("GET", "/").header("authorization", basic("ada:secret"));
            visitor.send_request(request.body(no_body()).unwrap())
        })
        .collect();
    for answer in asked {
        assert_eq!(soon(answer).await.unwrap().status(), 200);
    }
}

/// A token for ada by this key, good for ten minutes, with more claims.
fn token(key: &Ed25519KeyPair, issuer: &str, more: &str) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = format!(
        "{{\"iss\":\"{issuer}\",\"aud\":\"shop\",\"sub\":\"ada\",\"exp\":{}{more}}}",
        now + 600
    );
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode("{\"alg\":\"EdDSA\",\"kid\":\"k\"}"), encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    format!("Bearer {message}.{signature}")
}

const ISSUER: &str = "https://issuer.example";

fn tokens_by(key: &Ed25519KeyPair) -> impl FnOnce(&mut ir::AccessPolicy) {
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    let jwks = format!("{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"{x}\"}}]}}");
    move |policy| {
        policy.jwt = vec![ir::JwtIssuer {
            issuer: ISSUER.into(),
            audiences: vec!["shop".into()],
            jwks: jwks.into(),
        }];
    }
}

#[tokio::test]
async fn over_each_protocol_a_token_lets_in_and_the_app_learns_its_claims_and_never_the_token() {
    let (scene, key, other) = (
        scene().await,
        Ed25519KeyPair::generate().unwrap(),
        Ed25519KeyPair::generate().unwrap(),
    );
    scene.edge.apply(policy(tokens_by(&key))).unwrap();
    let claims = ",\"email\":\"ada@example.org\",\"groups\":[\"staff\",\"a,b\"]";
    let good = token(&key, ISSUER, claims);
    for _ in 0..2 {
        for (status, _, seen) in ask_over_each(&scene, &[("authorization", &good)]).await {
            let seen = seen.to_ascii_lowercase();
            assert_eq!(status, 200, "{seen}");
            for line in [
                "x-hawse-user: ada",
                "x-hawse-email: ada@example.org",
                "x-hawse-groups: staff,a%2cb",
            ] {
                assert!(seen.contains(line), "{line} in {seen}");
            }
            assert!(!seen.contains("authorization") && !seen.contains("bearer"), "{seen}");
        }
    }
    let opened = scene.opened();
    for bad in [
        token(&other, ISSUER, claims),
        token(&key, "https://other.example", ""),
        good[..good.len() - 3].to_owned(),
        good.replacen("Bearer ", "Bearer x", 1),
    ] {
        for (status, code, _) in ask_over_each(&scene, &[("authorization", &bad)]).await {
            assert_eq!((status, code.as_str()), (401, "HAWSE-1018"));
        }
    }
    assert_eq!(scene.opened(), opened);
    scene.edge.apply(policy(tokens_by(&other))).unwrap();
    let rotated = ask_over_each(&scene, &[("authorization", &good)]).await;
    assert!(
        rotated.iter().all(|(status, ..)| *status == 401),
        "what the old keys verified is forgotten"
    );
}

#[tokio::test]
async fn a_token_of_the_apps_own_passes_and_one_of_the_policys_does_not_whoever_lets_in() {
    let (scene, key) = (scene().await, Ed25519KeyPair::generate().unwrap());
    let both = |change: &mut ir::AccessPolicy| {
        loopback(change);
        tokens_by(&key)(change);
    };
    scene.edge.apply(policy(both)).unwrap();
    let own = token(&key, "https://of-the-app.example", "");
    for (status, _, seen) in ask_over_each(&scene, &[("authorization", &own)]).await {
        assert!(status == 200 && seen.contains(&own), "{seen}");
    }
    let ours = token(&key, ISSUER, "");
    for (status, _, seen) in ask_over_each(&scene, &[("authorization", &ours)]).await {
        assert!(status == 200 && !seen.contains("Bearer"), "{seen}");
    }
}
