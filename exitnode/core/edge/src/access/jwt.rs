//! Tokens of other issuers: JSON Web Tokens (RFC 7519) by `Authorization: Bearer` (RFC 6750), checked as RFC 8725 asks.
//!
//! The issuer is found by the token's `iss`, the key among that issuer's by `kid`, the algorithm has to be one of the key. Nothing of
//! the header but `alg` and `kid` counts: no keys or addresses that a token brings along. Pure.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hawse_proto::ir;
use http::HeaderMap;
use serde_json::{Map, Value};

use super::{
    identity::{Claims, Identity},
    jwk::{self, Key},
    rules::Rules,
};
use crate::limits;

/// Claims that are told to apps.
const TOLD: [&str; 2] = ["email", "groups"];

/// One issuer whose tokens are taken.
#[derive(Debug)]
pub(super) struct Issuer {
    issuer: String,
    audiences: Vec<String>,
    keys: Vec<Key>,
}

/// A token that is good.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) identity: Arc<Identity>,
    /// Unix seconds.
    pub(super) expires_at: u64,
}

impl Issuer {
    pub(super) fn parse(said: &ir::JwtIssuer) -> Result<Self, String> {
        if said.issuer.is_empty() || said.audiences.is_empty() {
            return Err("a token issuer without a name or an audience".into());
        }
        Ok(Self {
            issuer: said.issuer.clone(),
            audiences: said.audiences.clone(),
            keys: jwk::parse_set(&said.jwks)?,
        })
    }

    /// The one key that a token may be signed by: the one of its `kid`, or, without a `kid`, the only one for its algorithm.
    fn key(&self, algorithm: &str, id: Option<&str>) -> Option<&Key> {
        let fits = |key: &&Key| key.is_for(algorithm) && (id.is_none() || key.id.as_deref() == id);
        let mut keys = self.keys.iter().filter(fits);
        let first = keys.next()?;
        keys.next().is_none().then_some(first)
    }
}

/// The token of a request.
pub(super) fn presented(headers: &HeaderMap) -> Option<&str> {
    super::decision::authorization(headers, "bearer").filter(|token| token.len() <= limits::ACCESS_TOKEN_BYTES)
}

/// Whether a token says that it is by one of these issuers, whatever it is worth: no app of theirs should see it.
pub(super) fn is_by(issuers: &[Issuer], token: &str) -> bool {
    let claims = parts(token).and_then(|parts| decode(parts.claims));
    claims.is_some_and(|claims| issuer_of(issuers, &claims).is_some())
}

/// Checks a token; `now` in Unix seconds. `None`: it is not good, whyever.
pub(super) fn check(issuers: &[Issuer], rules: &Rules, token: &str, now: u64) -> Option<Token> {
    let parts = parts(token)?;
    let (header, claims) = (decode(parts.header)?, decode(parts.claims)?);
    let issuer = issuer_of(issuers, &claims)?;
    // What has to be understood is not (RFC 7515, 4.1.11).
    if header.contains_key("crit") {
        return None;
    }
    let id = match header.get("kid") {
        None => None,
        Some(id) => Some(id.as_str()?),
    };
    let algorithm = header.get("alg")?.as_str()?;
    let signature = URL_SAFE_NO_PAD.decode(parts.signature).ok()?;
    let key = issuer.key(algorithm, id)?;
    if !key.has_signed(algorithm, parts.signed.as_bytes(), &signature) {
        return None;
    }
    let expires_at =
        number(&claims, "exp")?.filter(|at| at.saturating_add(limits::ACCESS_CLOCK_SKEW.as_secs()) > now)?;
    let is_early = |name: &str| {
        number(&claims, name).map(|at| at.is_some_and(|at| at > now + limits::ACCESS_CLOCK_SKEW.as_secs()))
    };
    if is_early("nbf")? || is_early("iat")? || !is_for(&claims, &issuer.audiences) {
        return None;
    }
    let subject = claims.get("sub")?.as_str().filter(|subject| !subject.is_empty())?;
    let named = TOLD.into_iter().chain(rules.claims());
    let wanted = named.filter_map(|name| Some((name.to_owned(), values(&claims, name)?)));
    Some(Token {
        identity: Arc::new(Identity::new(subject, wanted.collect::<Claims>())),
        expires_at,
    })
}

struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    signed: &'a str,
}

fn parts(token: &str) -> Option<Parts<'_>> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    (!claims.contains('.')).then_some(Parts {
        header,
        claims,
        signature,
        signed,
    })
}

fn decode(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn issuer_of<'a>(issuers: &'a [Issuer], claims: &Map<String, Value>) -> Option<&'a Issuer> {
    let named = claims.get("iss")?.as_str()?;
    issuers.iter().find(|issuer| issuer.issuer == named)
}

/// A NumericDate; the outer `None`: it is none.
fn number(claims: &Map<String, Value>, name: &str) -> Option<Option<u64>> {
    let Some(value) = claims.get(name) else {
        return Some(None);
    };
    let seconds = value.as_f64().filter(|seconds| (0.0..1e15).contains(seconds))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be in range"
    )]
    Some(Some(seconds as u64))
}

fn is_for(claims: &Map<String, Value>, audiences: &[String]) -> bool {
    let is_ours = |value: &Value| {
        value
            .as_str()
            .is_some_and(|named| audiences.iter().any(|ours| ours == named))
    };
    match claims.get("aud") {
        Some(Value::Array(named)) => named.iter().any(is_ours),
        Some(value) => is_ours(value),
        None => false,
    }
}

/// Values of a claim; `a.b` is `b` in `a`, unless there is a claim of that name itself.
fn values(claims: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    let deep = || {
        let mut names = name.split('.');
        let first = claims.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    };
    let value = claims.get(name).or_else(deep)?;
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    };
    match value {
        Value::Array(values) => Some(values.iter().filter_map(text).collect()),
        value => Some(vec![text(value)?]),
    }
}

#[cfg(test)]
#[path = "jwt/tests.rs"]
mod tests;
