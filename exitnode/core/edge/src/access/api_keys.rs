//! API keys: lines `name:hex SHA-256 of the key`. The key itself is known to nobody here.
//!
//! A key is found by its digest, so no comparison takes longer the more of a key was guessed. Pure.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest;
use hawse_proto::ir;
use http::{HeaderMap, HeaderName};

use super::identity::{Claims, Identity};
use crate::limits;

const DIGEST_BYTES: usize = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct ApiKeys {
    pub(super) header: HeaderName,
    keys: HashMap<[u8; DIGEST_BYTES], Arc<Identity>>,
}

impl ApiKeys {
    pub(super) fn parse(said: &ir::ApiKeys, material: &[u8]) -> Result<Self, String> {
        let header = HeaderName::try_from(said.header.as_str())
            .map_err(|_| format!("{:?} is not the name of a field", said.header))?;
        let text = std::str::from_utf8(material).map_err(|_| "the API keys are not text")?;
        let mut keys = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let (name, key) = parse_line(line).ok_or(format!("line {} of the API keys is not readable", number + 1))?;
            keys.insert(key, Arc::new(Identity::new(name, Claims::new())));
        }
        if keys.is_empty() || keys.len() > limits::ACCESS_ENTRIES {
            return Err(format!("there are {} API keys", keys.len()));
        }
        Ok(Self { header, keys })
    }

    /// What the request brings; several are none.
    pub(super) fn presented<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        let mut values = headers.get_all(&self.header).iter();
        let first = values.next()?;
        values.next().is_none().then_some(first.as_bytes())
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<Arc<Identity>> {
        let digest = digest::digest(&digest::SHA256, key);
        self.keys.get(digest.as_ref()).cloned()
    }
}

fn parse_line(line: &str) -> Option<(&str, [u8; DIGEST_BYTES])> {
    let (name, hex) = line.split_once(':')?;
    if name.is_empty() || hex.len() != 2 * DIGEST_BYTES || !hex.is_ascii() {
        return None;
    }
    let mut key = [0; DIGEST_BYTES];
    for (byte, at) in key.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some((name, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(key: &str) -> String {
        let digest = digest::digest(&digest::SHA256, key.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn keys(material: &str) -> Result<ApiKeys, String> {
        let said = ir::ApiKeys {
            material_id: "access/p1/apiKeys".into(),
            header: "x-api-key".into(),
        };
        ApiKeys::parse(&said, material.as_bytes())
    }

    #[test]
    fn a_key_is_who_it_was_given_to() {
        let keys = keys(&format!("ci:{}\nops:{}\n", hex("key of ci"), hex("key of ops"))).unwrap();
        assert_eq!(keys.find(b"key of ci").unwrap().claim("sub"), ["ci"]);
        assert_eq!(keys.find(b"key of ops").unwrap().claim("sub"), ["ops"]);
        assert_eq!(keys.find(b"key of cI"), None);
        assert_eq!(keys.find(b""), None);
        assert_eq!(keys.find(hex("key of ci").as_bytes()), None, "the digest is no key");
    }

    #[test]
    fn a_field_that_stands_twice_brings_no_key() {
        let keys = keys(&format!("ci:{}", hex("k"))).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(keys.presented(&headers), None);
        headers.append("x-api-key", "k".parse().unwrap());
        assert_eq!(keys.presented(&headers), Some(b"k".as_slice()));
        headers.append("x-api-key", "k".parse().unwrap());
        assert_eq!(keys.presented(&headers), None);
    }

    #[test]
    fn material_that_is_not_readable_is_refused_by_line_and_never_quoted() {
        let good = hex("k");
        for bad in [
            "",
            "ci",
            "ci:",
            ":00",
            "ci:zz",
            &format!(":{good}"),
            &format!("ci:{good}0"),
        ] {
            let said = keys(&format!("ops:{good}\n{bad}\n")).unwrap_err();
            assert!(said.contains("line 2") && !said.contains(&good), "{bad:?}: {said}");
        }
        assert!(keys("").is_err());
        assert!(keys(&format!("ci:{}é", &good[..62])).is_err());
    }
}
