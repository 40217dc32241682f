//! Public keys of token issuers (JSON Web Key Set, RFC 7517), and signatures checked by them (RFC 7515, 7518, 8037).
//!
//! A key knows which algorithms it is for: a token cannot choose one for it. Only signatures by private keys are known here, so
//! neither `none` nor a shared secret can pass. Keys that are no use are passed over. Pure.

use aws_lc_rs::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::limits;

/// One public key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    /// The only algorithm that it is for, if it says so.
    only: Option<String>,
    kind: Kind,
}

enum Kind {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kind")
    }
}

impl Key {
    /// Whether the key is for signatures by this algorithm.
    pub(super) fn is_for(&self, algorithm: &str) -> bool {
        let fits = match self.kind {
            Kind::Rsa { .. } => rsa(algorithm).is_some(),
            Kind::P256(_) => algorithm == "ES256",
            Kind::P384(_) => algorithm == "ES384",
            Kind::Ed25519(_) => algorithm == "EdDSA" || algorithm == "Ed25519",
        };
        fits && self.only.as_deref().is_none_or(|only| only == algorithm)
    }

    /// Whether the signature is by this key and this algorithm. About 40 us.
    pub(super) fn has_signed(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        if !self.is_for(algorithm) {
            return false;
        }
        let checked = match &self.kind {
            Kind::Rsa { n, e } => {
                let Some(parameters) = rsa(algorithm) else { return false };
                return (RsaPublicKeyComponents { n, e })
                    .verify(parameters, message, signature)
                    .is_ok();
            }
            Kind::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Kind::P384(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
            }
            Kind::Ed25519(x) => UnparsedPublicKey::new(&signature::ED25519, x).verify(message, signature),
        };
        checked.is_ok()
    }
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// The keys of a set that can be used for signatures; none is an error.
pub(super) fn parse_set(jwks: &[u8]) -> Result<Vec<Key>, String> {
    let set: Value = serde_json::from_slice(jwks).map_err(|_| "the keys of a token issuer are not readable")?;
    let keys = set.get("keys").and_then(Value::as_array);
    let keys: Vec<Key> = (keys.into_iter().flatten())
        .filter_map(parse)
        .take(limits::ACCESS_ISSUER_KEYS)
        .collect();
    if keys.is_empty() {
        return Err("a token issuer has no key for signatures".into());
    }
    Ok(keys)
}

fn parse(jwk: &Value) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let point = |length: usize| {
        let (x, y) = (bytes("x")?, bytes("y")?);
        (x.len() == length && y.len() == length).then(|| [&[4], x.as_slice(), &y].concat())
    };
    let kind = match (text("kty")?, text("crv")) {
        ("RSA", _) => Kind::Rsa {
            n: bytes("n")?,
            e: bytes("e")?,
        },
        ("EC", Some("P-256")) => Kind::P256(point(32)?),
        ("EC", Some("P-384")) => Kind::P384(point(48)?),
        ("OKP", Some("Ed25519")) => Kind::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
        _ => return None,
    };
    Some(Key {
        id: text("kid").map(str::to_owned),
        only: text("alg").map(str::to_owned),
        kind,
    })
}
