//! A certificate authority for tests: issues identities as the operator would. Used by unit and integration tests.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "shared by several test binaries, each of which uses a part"
)]

use hawse_proto::core;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// A CA with its key.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub der: Vec<u8>,
}

impl Ca {
    /// A new CA with a key of its own.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self {
            issuer: Issuer::new(params, key),
            der,
        }
    }

    /// The hash that a token would carry.
    pub fn sha256(&self) -> Vec<u8> {
        let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256
            .tls13()
            .unwrap();
        suite.common.hash_provider.hash(&self.der).as_ref().to_vec()
    }

    /// A certificate good for both sides of a link, that trusts this CA.
    pub fn issue(&self, name: &str) -> core::Identity {
        self.issue_valid(name, -3600..86_400)
    }

    /// The same, valid for these seconds from now.
    pub fn issue_valid(&self, name: &str, seconds: std::ops::Range<i64>) -> core::Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let now = std::time::SystemTime::now();
        let at = |offset: i64| {
            (now + std::time::Duration::from_secs(86_400 * 365)) // SystemTime can't add a negative one
                .checked_sub(std::time::Duration::from_secs((86_400 * 365 - offset) as u64))
                .unwrap()
        };
        params.not_before = at(seconds.start).into();
        params.not_after = at(seconds.end).into();
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        core::Identity {
            chain: vec![leaf.der().to_vec()],
            key: key.serialize_der(),
            roots: vec![self.der.clone()],
            reset_secret: Vec::new(),
        }
    }
}
