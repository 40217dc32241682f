use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use ir::access_policy::Mode;
use tokio::time::Instant;

use super::{decision::Answers, *};
use crate::fault;

const OFFICE: &str = "198.51.100.7";
const DENIED: &str = "198.51.100.66";
const HOME: &str = "203.0.113.9";

fn policy(change: impl FnOnce(&mut ir::AccessPolicy)) -> ir::AccessPolicy {
    let mut policy = ir::AccessPolicy {
        uid: "p1".into(),
        mode: Mode::Any.into(),
        ..ir::AccessPolicy::default()
    };
    change(&mut policy);
    policy
}

fn office(policy: &mut ir::AccessPolicy) {
    policy.ip_ranges = Some(ir::IpRanges {
        allow: vec!["198.51.100.0/24".into()],
        deny: vec!["198.51.100.66/32".into()],
    });
}

fn keys(policy: &mut ir::AccessPolicy) {
    policy.api_keys = Some(ir::ApiKeys {
        material_id: "access/p1/apiKeys".into(),
        header: "x-api-key".into(),
    });
}

fn basic(policy: &mut ir::AccessPolicy) {
    policy.basic = Some(ir::Basic {
        material_id: "access/p1/basic".into(),
    });
}

fn only_ada(policy: &mut ir::AccessPolicy) {
    policy.authorization = Some(ir::Authorization {
        rules: vec![ir::ClaimRule {
            name: "ada".into(),
            claim: "sub".into(),
            any_of: vec!["ada".into()],
        }],
        default_allow: false,
    });
}

/// All of these say something of the policy.
fn every(changes: &[fn(&mut ir::AccessPolicy)]) -> ir::AccessPolicy {
    policy(|policy| changes.iter().for_each(|change| change(policy)))
}

/// Users ada and bob, with the password "secret"; the API keys "key of ada" and "key of ci".
fn access() -> Access {
    let access = Access::default();
    let hash = bcrypt::hash("secret", 4).unwrap();
    let users = format!("ada:{hash}\nbob:{hash}\n");
    access.put_material("access/p1/basic", users.as_bytes()).unwrap();
    let line = |name: &str| {
        let digest = digest::digest(&digest::SHA256, format!("key of {name}").as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name}:{hex}\n")
    };
    let keys = [line("ada"), line("ci")].concat();
    access.put_material("access/p1/apiKeys", keys.as_bytes()).unwrap();
    access
}

fn sends(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn password(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

/// "in", "in as ada", or the code.
async fn verdict(access: &Access, address: &str, headers: &HeaderMap) -> String {
    verdict_of(access, &["p1".to_owned()], address, headers).await
}

async fn verdict_of(access: &Access, uids: &[String], address: &str, headers: &HeaderMap) -> String {
    let address = address.parse().unwrap();
    let visitor = Visitor {
        address,
        headers,
        hostname: "shop.t.example",
        wall_clock: 0,
        tunnel_uid: "u1",
    };
    let mut answers = Answers::default();
    loop {
        match access.decide(uids, visitor, &answers, Instant::now()) {
            Decision::LetIn(None) => return "in".into(),
            Decision::LetIn(Some(who)) => return format!("in as {}", who.claim("sub")[0]),
            Decision::Refused(fault) => return fault::text(fault.code),
            Decision::Ask(question) => {
                if let Err(fault) = access.answer(question, address, &mut answers).await {
                    return fault::text(fault.code);
                }
            }
        }
    }
}

/// mode and methods | from | API key | password | verdict
const CASES: &str = "
any office            | office |     |            | in
any office            | home   |     |            | HAWSE-1019
any office            | denied |     |            | HAWSE-1019
any office keys       | office |     |            | in
any office keys       | home   |     |            | HAWSE-1018
any office keys       | home   | ci  |            | in as ci
any office keys       | denied | ci  |            | HAWSE-1019
any keys              | home   | xx  |            | HAWSE-1018
any keys ada          | home   | ci  |            | HAWSE-1019
any keys ada          | home   | ada |            | in as ada
any office keys ada   | office |     |            | in
any basic             | home   |     | ada:secret | in as ada
any basic             | home   |     | ada:Secret | HAWSE-1018
any basic             | home   |     | eve:secret | HAWSE-1018
any basic ada         | home   |     | bob:secret | HAWSE-1019
any keys basic        | home   | ci  | ada:Secret | in as ci
any keys basic        | home   | xx  | ada:secret | in as ada
all office            | office |     |            | in
all office            | denied |     |            | HAWSE-1019
all office ada        | office |     |            | HAWSE-1019
all office keys       | office |     |            | HAWSE-1018
all office keys       | home   | ci  |            | HAWSE-1019
all office keys       | office | ci  |            | in as ci
all keys basic        | home   | ci  |            | HAWSE-1018
all keys basic        | home   |     | ada:secret | HAWSE-1018
all keys basic        | home   | ci  | ada:Secret | HAWSE-1018
all keys basic        | home   | ci  | ada:secret | in as ada
";

#[tokio::test]
async fn with_any_one_method_is_enough_and_with_all_none_may_be_missing() {
    for case in CASES.lines().filter(|line| !line.is_empty()) {
        let columns: Vec<&str> = case.split('|').map(str::trim).collect();
        let mut policy = policy(|_| {});
        for word in columns[0].split(' ') {
            match word {
                "any" => policy.mode = Mode::Any.into(),
                "all" => policy.mode = Mode::All.into(),
                "office" => office(&mut policy),
                "keys" => keys(&mut policy),
                "basic" => basic(&mut policy),
                _ => only_ada(&mut policy),
            }
        }
        let address = match columns[1] {
            "office" => OFFICE,
            "home" => HOME,
            _ => DENIED,
        };
        let mut headers = HeaderMap::new();
        if !columns[2].is_empty() {
            headers.insert("x-api-key", format!("key of {}", columns[2]).parse().unwrap());
        }
        if !columns[3].is_empty() {
            headers.insert("authorization", password(columns[3]).parse().unwrap());
        }
        let access = access();
        access.apply(policy).unwrap();
        assert_eq!(verdict(&access, address, &headers).await, columns[4], "{case}");
    }
}

/// What is done to a policy, and how.
type Spoiled = (&'static str, fn(&Access));

#[tokio::test]
async fn whatever_cannot_be_enforced_lets_nobody_in() {
    let credentials = sends(&[("authorization", &password("ada:secret")), ("x-api-key", "key of ci")]);
    let cases: [Spoiled; 9] = [
        ("not there", |_| {}),
        ("broken", |access| {
            let _ = access.apply(policy(|policy| {
                office(policy);
                policy.broken = "x".into();
            }));
        }),
        ("no mode", |access| {
            let _ = access.apply(policy(|policy| {
                office(policy);
                policy.mode = Mode::Unspecified.into();
            }));
        }),
        ("no method", |access| {
            let _ = access.apply(every(&[only_ada]));
        }),
        ("nobody is let in by being kept out", |access| {
            let _ = access.apply(policy(|policy| {
                policy.ip_ranges = Some(ir::IpRanges {
                    allow: vec![],
                    deny: vec!["192.0.2.0/24".into()],
                });
            }));
        }),
        ("a method of tomorrow beside one of today", |access| {
            let _ = access.apply(policy(|policy| {
                office(policy);
                policy.client_certificates = Some(ir::ClientCertificates::default());
            }));
        }),
        ("material missing", |access| {
            access.apply(every(&[office, basic])).unwrap();
            access.remove_material("access/p1/basic");
        }),
        ("material unreadable", |access| {
            access.apply(every(&[office, keys])).unwrap();
            assert!(access.put_material("access/p1/apiKeys", b"ci").is_err());
        }),
        ("removed", |access| {
            access.apply(every(&[office])).unwrap();
            access.remove("p1");
        }),
    ];
    for (name, spoil) in cases {
        let access = access();
        spoil(&access);
        assert_eq!(verdict(&access, OFFICE, &credentials).await, "HAWSE-1020", "{name}");
    }
}

#[tokio::test]
async fn an_edit_that_is_refused_leaves_nothing_of_the_old_form() {
    let access = access();
    access.apply(every(&[office])).unwrap();
    assert_eq!(verdict(&access, OFFICE, &sends(&[])).await, "in");
    let why = access
        .apply(policy(|policy| {
            policy.ip_ranges = Some(ir::IpRanges {
                allow: vec!["198.51.100.0/33".into()],
                deny: vec![],
            });
        }))
        .unwrap_err();
    assert!(why.contains("198.51.100.0/33"), "{why}");
    assert_eq!(verdict(&access, OFFICE, &sends(&[])).await, "HAWSE-1020");
    access.apply(every(&[office])).unwrap();
    assert_eq!(verdict(&access, OFFICE, &sends(&[])).await, "in");
}

#[tokio::test]
async fn material_that_comes_back_opens_again_and_another_password_counts_at_once() {
    let access = access();
    access.apply(every(&[basic])).unwrap();
    let headers = sends(&[("authorization", &password("ada:secret"))]);
    assert_eq!(verdict(&access, HOME, &headers).await, "in as ada");
    access.remove_material("access/p1/basic");
    assert_eq!(verdict(&access, HOME, &headers).await, "HAWSE-1020");
    let users = format!("ada:{}", bcrypt::hash("another", 4).unwrap());
    access.put_material("access/p1/basic", users.as_bytes()).unwrap();
    assert_eq!(
        verdict(&access, HOME, &headers).await,
        "HAWSE-1018",
        "it was verified, for the Secret of before"
    );
    let headers = sends(&[("authorization", &password("ada:another"))]);
    assert_eq!(verdict(&access, HOME, &headers).await, "in as ada");
}

#[tokio::test]
async fn of_two_policies_both_have_to_let_in() {
    let access = access();
    access.apply(every(&[office])).unwrap();
    let mut other = every(&[keys]);
    other.uid = "p2".into();
    access.apply(other).unwrap();
    let both = ["p1".to_owned(), "p2".to_owned()];
    let key = sends(&[("x-api-key", "key of ci")]);
    assert_eq!(verdict_of(&access, &both, OFFICE, &key).await, "in as ci");
    assert_eq!(verdict_of(&access, &both, HOME, &key).await, "HAWSE-1019");
    assert_eq!(verdict_of(&access, &both, OFFICE, &sends(&[])).await, "HAWSE-1018");
    let unknown = ["p1".to_owned(), "p3".to_owned()];
    assert_eq!(verdict_of(&access, &unknown, OFFICE, &key).await, "HAWSE-1020");
}

#[tokio::test]
async fn who_guesses_is_made_to_wait_and_who_is_verified_is_not() {
    let access = access();
    access.apply(every(&[basic])).unwrap();
    let right = sends(&[("authorization", &password("ada:secret"))]);
    assert_eq!(verdict(&access, HOME, &right).await, "in as ada");
    for number in 0..limits::ACCESS_FAILURES {
        let guess = sends(&[("authorization", &password(&format!("ada:{number}")))]);
        assert_eq!(verdict(&access, HOME, &guess).await, "HAWSE-1018");
    }
    let bob = sends(&[("authorization", &password("bob:secret"))]);
    assert_eq!(
        verdict(&access, HOME, &bob).await,
        "HAWSE-1018",
        "right, but it is not even tried"
    );
    assert_eq!(verdict(&access, HOME, &right).await, "in as ada");
    assert_eq!(verdict(&access, OFFICE, &bob).await, "in as bob");
}

#[tokio::test]
async fn who_is_not_known_is_told_what_would_help() {
    let access = access();
    access.apply(every(&[keys, basic])).unwrap();
    let headers = HeaderMap::new();
    let visitor = Visitor {
        address: HOME.parse().unwrap(),
        headers: &headers,
        hostname: "shop.t.example",
        wall_clock: 0,
        tunnel_uid: "u1",
    };
    let Decision::Refused(fault) = access.decide(&["p1".to_owned()], visitor, &Answers::default(), Instant::now())
    else {
        panic!("not refused")
    };
    assert_eq!(
        fault.challenges,
        [
            "Basic realm=\"shop.t.example\", charset=\"UTF-8\"",
            "ApiKey realm=\"shop.t.example\", header=\"x-api-key\""
        ]
    );
}

#[test]
fn the_credential_goes_and_what_is_the_apps_stays() {
    let access = access();
    access.apply(every(&[keys, basic])).unwrap();
    let uids = ["p1".to_owned()];
    let mut headers = sends(&[
        ("authorization", &password("ada:x")),
        ("x-api-key", "k"),
        ("x-api-key", "l"),
    ]);
    access.strip(&uids, &mut headers);
    assert!(headers.is_empty(), "{headers:?}");
    let mut headers = sends(&[("authorization", "Bearer of-the-app"), ("cookie", "a=b")]);
    access.strip(&uids, &mut headers);
    assert_eq!(headers.len(), 2);
}
