use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://issuer.example";

/// Keys as an issuer has them: made once for all tests, since making an RSA key takes its time.
struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    /// Nobody's.
    other: Ed25519KeyPair,
}

fn keys() -> &'static Keys {
    static KEYS: std::sync::OnceLock<Keys> = std::sync::OnceLock::new();
    KEYS.get_or_init(|| Keys {
        rsa: RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap(),
        ec: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        ed: Ed25519KeyPair::generate().unwrap(),
        other: Ed25519KeyPair::generate().unwrap(),
    })
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn jwks() -> Value {
    let keys = keys();
    // RSAPublicKey in DER: lengths of two and one bytes, a leading zero of the modulus.
    let der = keys.rsa.public_key().as_ref();
    let point = keys.ec.public_key().as_ref();
    json!({"keys": [
        {"kty": "RSA", "kid": "rsa", "use": "sig", "n": b64(&der[9..265]), "e": b64(&der[267..])},
        {"kty": "EC", "kid": "ec", "crv": "P-256", "alg": "ES256", "x": b64(&point[1..33]), "y": b64(&point[33..])},
        {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(keys.ed.public_key())},
        {"kty": "oct", "kid": "oct", "k": b64("a shared secret of 32 characters")},
        {"kty": "RSA", "kid": "for encryption", "use": "enc", "n": "AQ", "e": "AQAB"},
        {"kty": "unknown"}, 7,
    ]})
}

fn issuers_with(jwks: &Value) -> Vec<Issuer> {
    let said = ir::JwtIssuer {
        issuer: ISSUER.into(),
        audiences: vec!["shop".into(), "blog".into()],
        jwks: jwks.to_string().into(),
    };
    vec![Issuer::parse(&said).unwrap()]
}

fn good() -> Value {
    json!({"iss": ISSUER, "aud": "shop", "sub": "ada", "exp": NOW + 600, "iat": NOW, "nbf": NOW,
           "email": "ada@example.org", "groups": ["staff", "ops"], "secret": "x",
           "realm_access": {"roles": ["admin"]}, "https://a.example/team": "red", "level": 3})
}

fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", b64(signature))
}

fn by_ed(message: &[u8]) -> Vec<u8> {
    keys().ed.sign(message).as_ref().to_vec()
}

fn by_ec(message: &[u8]) -> Vec<u8> {
    keys().ec.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

fn by_rsa(encoding: &'static dyn signature::RsaEncoding) -> impl FnOnce(&[u8]) -> Vec<u8> {
    move |message| {
        let mut out = vec![0; keys().rsa.public_modulus_len()];
        keys()
            .rsa
            .sign(encoding, &SystemRandom::new(), message, &mut out)
            .unwrap();
        out
    }
}

/// Signed as it should be.
fn token(claims: &Value) -> String {
    signed(&json!({"alg": "EdDSA", "kid": "ed"}), claims, by_ed)
}

fn checked(token: &str) -> Option<Token> {
    check(&issuers_with(&jwks()), &Rules::default(), token, NOW)
}

#[test]
fn a_good_token_says_who_it_is_in_every_algorithm_that_its_key_is_for() {
    let tokens = [
        token(&good()),
        signed(&json!({"alg": "ES256", "kid": "ec"}), &good(), by_ec),
        signed(
            &json!({"alg": "RS256", "kid": "rsa", "typ": "at+jwt", "x": 7}),
            &good(),
            by_rsa(&signature::RSA_PKCS1_SHA256),
        ),
        signed(
            &json!({"alg": "RS512", "kid": "rsa"}),
            &good(),
            by_rsa(&signature::RSA_PKCS1_SHA512),
        ),
        signed(
            &json!({"alg": "PS256", "kid": "rsa"}),
            &good(),
            by_rsa(&signature::RSA_PSS_SHA256),
        ),
    ];
    for token in tokens {
        let found = checked(&token).unwrap();
        assert_eq!(found.expires_at, NOW + 600);
        assert_eq!(found.identity.claim("sub"), ["ada"]);
        assert_eq!(found.identity.claim("email"), ["ada@example.org"]);
        assert_eq!(found.identity.claim("groups"), ["staff", "ops"]);
        assert!(
            found.identity.claim("secret").is_empty(),
            "kept is what is told or asked for"
        );
    }
}

#[test]
fn whatever_is_wrong_with_claims_the_token_is_none() {
    let changes = [
        ("iss", json!("https://evil.example")),
        ("iss", json!([ISSUER])),
        ("iss", Value::Null),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("aud", json!(["other"])),
        ("aud", json!({"shop": 1})),
        ("aud", Value::Null),
        ("exp", json!(NOW - 30)),
        ("exp", json!("never")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("exp", Value::Null),
        ("nbf", json!(NOW + 31)),
        ("nbf", json!("x")),
        ("iat", json!(NOW + 31)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", Value::Null),
    ];
    for (name, value) in changes {
        let mut claims = good();
        claims[name] = value.clone();
        assert!(checked(&token(&claims)).is_none(), "{name}: {value}");
        claims.as_object_mut().unwrap().remove(name);
        let is_optional = matches!(name, "nbf" | "iat");
        assert_eq!(checked(&token(&claims)).is_some(), is_optional, "without {name}");
    }
}

#[test]
fn clocks_may_differ_a_little_and_one_audience_is_enough() {
    for (name, value) in [
        ("exp", json!(NOW - 29)),
        ("nbf", json!(NOW + 30)),
        ("exp", json!((NOW + 5) as f64 + 0.5)),
        ("aud", json!(["other", "blog"])),
    ] {
        let mut claims = good();
        claims[name] = value;
        assert!(checked(&token(&claims)).is_some(), "{name}");
    }
}

/// Signed by HMAC with something that is public, or nearly.
fn by_hmac(kid: &str, secret: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    signed(&json!({"alg": "HS256", "kid": kid}), &good(), |message| {
        hmac::sign(&key, message).as_ref().to_vec()
    })
}

#[test]
fn no_signature_and_none_by_a_shared_secret_counts() {
    let n = jwks()["keys"][0]["n"].as_str().unwrap().to_owned();
    let none = signed(&json!({"alg": "none"}), &good(), |_| vec![]);
    for (name, token) in [
        ("none", none.clone()),
        ("none without its dot", none.trim_end_matches('.').to_owned()),
        (
            "None",
            signed(&json!({"alg": "None", "kid": "ed"}), &good(), |_| vec![]),
        ),
        ("no alg", signed(&json!({"kid": "ed"}), &good(), by_ed)),
        (
            "HS256 by the modulus",
            by_hmac("rsa", &URL_SAFE_NO_PAD.decode(&n).unwrap()),
        ),
        ("HS256 by its text", by_hmac("rsa", n.as_bytes())),
        (
            "HS256 by the set's secret",
            by_hmac("oct", b"a shared secret of 32 characters"),
        ),
    ] {
        assert!(checked(&token).is_none(), "{name}");
    }
}

#[test]
fn a_header_chooses_neither_key_nor_algorithm() {
    let foreign = |message: &[u8]| keys().other.sign(message).as_ref().to_vec();
    let own = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(keys().other.public_key())});
    let by_own = json!({"alg": "EdDSA", "jwk": own, "jku": "https://evil.example"});
    let critical = json!({"alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": false});
    for (name, header) in [
        ("unknown kid", json!({"alg": "EdDSA", "kid": "new"})),
        ("kid of another key", json!({"alg": "EdDSA", "kid": "ec"})),
        ("kid that is no text", json!({"alg": "EdDSA", "kid": 7})),
        ("algorithm of another family", json!({"alg": "RS256", "kid": "ed"})),
        ("what has to be understood", critical),
    ] {
        assert!(checked(&signed(&header, &good(), by_ed)).is_none(), "{name}");
    }
    let other_algorithm = signed(&json!({"alg": "ES384", "kid": "ec"}), &good(), by_ec);
    assert!(checked(&other_algorithm).is_none(), "not the key's");
    assert!(checked(&signed(&json!({"alg": "EdDSA", "kid": "ed"}), &good(), foreign)).is_none());
    assert!(
        checked(&signed(&by_own, &good(), foreign)).is_none(),
        "a key of its own"
    );
}

#[test]
fn a_changed_or_malformed_token_is_none() {
    let good_token = token(&good());
    let (head, rest) = good_token.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let mut admin = good();
    admin["sub"] = json!("root");
    for bad in [
        format!("{head}.{}.{signature}", b64(admin.to_string())),
        format!("{good_token}.x"),
        format!("{good_token}="),
        format!(".{good_token}"),
        "..".to_owned(),
        String::new(),
        "a.b.c".to_owned(),
        good_token[..good_token.len() - 2].to_owned(),
    ] {
        assert!(checked(&bad).is_none(), "{bad}");
    }
    assert!(checked(&good_token).is_some());
}

#[test]
fn without_a_kid_the_key_has_to_be_the_only_one_for_the_algorithm() {
    let without = signed(&json!({"alg": "EdDSA"}), &good(), by_ed);
    assert!(checked(&without).is_some());
    let mut two = jwks();
    let mut second = two["keys"][2].clone();
    second["kid"] = json!("ed2");
    two["keys"].as_array_mut().unwrap().push(second);
    assert!(check(&issuers_with(&two), &Rules::default(), &without, NOW).is_none());
    let mut same = jwks();
    let again = same["keys"][2].clone();
    same["keys"].as_array_mut().unwrap().push(again);
    assert!(
        check(&issuers_with(&same), &Rules::default(), &token(&good()), NOW).is_none(),
        "two keys of one kid"
    );
}

#[test]
fn rules_find_claims_that_are_nested_named_by_a_url_or_no_text() {
    for (claim, value) in [
        ("realm_access.roles", "admin"),
        ("https://a.example/team", "red"),
        ("level", "3"),
    ] {
        let authorization = ir::Authorization {
            rules: vec![ir::ClaimRule {
                name: "r".into(),
                claim: claim.into(),
                any_of: vec![value.into()],
            }],
            default_allow: false,
        };
        let rules = Rules::of(Some(&authorization));
        let found = check(&issuers_with(&jwks()), &rules, &token(&good()), NOW).unwrap();
        assert!(rules.allow(Some(&found.identity)), "{claim}");
    }
}

#[test]
fn a_token_of_the_issuer_is_known_as_such_whatever_it_is_worth() {
    let issuers = issuers_with(&jwks());
    assert!(is_by(&issuers, &signed(&json!({"alg": "none"}), &good(), |_| vec![])));
    assert!(!is_by(&issuers, &token(&json!({"iss": "https://of-the-app.example"}))));
    assert!(!is_by(&issuers, "opaque"));
}

#[test]
fn an_issuer_without_a_usable_key_name_or_audience_is_refused() {
    for jwks in [
        "",
        "{}",
        "{\"keys\": []}",
        "{\"keys\": [{\"kty\": \"oct\", \"k\": \"AA\"}]}",
        "[]",
    ] {
        let said = ir::JwtIssuer {
            issuer: ISSUER.into(),
            audiences: vec!["shop".into()],
            jwks: jwks.into(),
        };
        assert!(Issuer::parse(&said).is_err(), "{jwks}");
    }
    for (issuer, audiences) in [("", vec!["a".to_owned()]), (ISSUER, vec![])] {
        let said = ir::JwtIssuer {
            issuer: issuer.into(),
            audiences,
            jwks: jwks().to_string().into(),
        };
        assert!(Issuer::parse(&said).is_err());
    }
}
