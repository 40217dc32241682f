use hawse_proto::ir;

use super::*;
use crate::shared::Shared;

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

fn put(certificates: &Certificates, id: &str, names: &[&str]) {
    let made = rcgen::generate_simple_self_signed(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    certificates
        .put(
            &provider(),
            id,
            made.cert.pem().as_bytes(),
            made.signing_key.serialize_pem().as_bytes(),
        )
        .unwrap();
}

fn found(certificates: &Certificates, sni: Option<&str>) -> Option<String> {
    certificates.find(sni).map(|certificate| certificate.id.clone())
}

#[test]
fn the_exact_name_wins_then_the_fleet_then_a_wildcard() {
    let all = Certificates::default();
    put(&all, "other", &["*.t.example"]);
    put(&all, "fleet", &["*.t.example", "t.example"]);
    put(&all, "shop", &["shop.t.example"]);
    put(&all, "other", &["*.t.example"]); // put again: it took the name back
    all.set_fleet(Some("fleet".into()));
    for (sni, id) in [
        (Some("shop.t.example"), Some("shop")),
        (Some("SHOP.t.example."), Some("shop")),
        (Some("a.t.example"), Some("fleet")),
        (Some("t.example"), Some("fleet")),
        (Some("a.b.t.example"), None),
        (Some("example"), None),
        (None, Some("fleet")),
    ] {
        assert_eq!(found(&all, sni).as_deref(), id, "{sni:?}");
    }
    all.set_fleet(None);
    assert_eq!(found(&all, Some("a.t.example")).as_deref(), Some("other"));
    assert_eq!(found(&all, None), None);
}

#[test]
fn a_replaced_certificate_gives_up_names_it_lost() {
    let all = Certificates::default();
    put(&all, "one", &["a.example", "b.example"]);
    put(&all, "one", &["b.example"]);
    assert_eq!(found(&all, Some("a.example")), None);
    assert_eq!(found(&all, Some("b.example")).as_deref(), Some("one"));
}

#[test]
fn a_refusal_says_what_is_wrong() {
    let all = Certificates::default();
    let one = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let two = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let (chain, key) = (one.cert.pem(), two.signing_key.serialize_pem());
    for (chain, key, says) in [
        ("", "", "the chain is empty"),
        (chain.as_str(), "", "not a PEM private key"),
        (chain.as_str(), key.as_str(), "don't go together"),
    ] {
        let error = all.put(&provider(), "x", chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("BEGIN"), "no key material in errors: {error}");
    }
    assert_eq!(
        found(&all, Some("a.example")),
        None,
        "a refused certificate changes nothing"
    );
}

#[test]
fn a_wildcard_covers_one_label() {
    let all = Certificates::default();
    put(&all, "w", &["*.t.example"]);
    let certificate = all.find(Some("x.t.example")).unwrap();
    for (host, covered) in [
        ("a.t.example", true),
        ("t.example", false),
        ("a.b.t.example", false),
        (".t.example", false),
    ] {
        assert_eq!(certificate.covers(host), covered, "{host}");
    }
}

#[test]
fn a_removed_certificate_gives_up_its_names() {
    let all = Certificates::default();
    put(&all, "one", &["a.example"]);
    all.remove("one");
    all.remove("unknown");
    assert_eq!(found(&all, Some("a.example")), None);
}

#[test]
fn a_tunnels_own_certificate_is_good_for_its_host_alone() {
    let shared = Shared::default();
    put(&shared.certificates, "fleet", &["*.t.example"]);
    shared.certificates.set_fleet(Some("fleet".into()));
    put(
        &shared.certificates,
        "certificate/tunnel-u1",
        &["shop.example", "bank.t.example", "*.t.example"],
    );
    let found = |sni: &str| shared.certificate(Some(sni)).map(|found| found.id.clone());
    assert_eq!(found("shop.example"), None, "no tunnel names it yet");

    let tunnel = |hostname: &str| ir::Tunnel {
        uid: "u1".into(),
        hostname: hostname.into(),
        certificate_id: "certificate/tunnel-u1".into(),
        closed: Some(ir::Closed {
            code: "HAWSE-1008".into(),
            message: String::new(),
        }),
        ..ir::Tunnel::default()
    };
    shared.routes.apply(tunnel("shop.example")).unwrap();
    assert_eq!(found("Shop.example.").as_deref(), Some("certificate/tunnel-u1"));
    assert_eq!(found("bank.t.example").as_deref(), Some("fleet"));
    let own = shared.certificate(Some("shop.example")).unwrap();
    assert!(own.covers("shop.example") && !own.covers("bank.t.example"));

    shared.routes.apply(tunnel("other.example")).unwrap();
    assert_eq!(found("other.example"), None, "the certificate does not name it");
    shared.routes.apply(tunnel("a.t.example")).unwrap();
    shared.certificates.remove("certificate/tunnel-u1");
    assert_eq!(
        found("a.t.example").as_deref(),
        Some("fleet"),
        "better than no page at all"
    );
}
