//! Stateless resets (RFC 9000, section 10.3): an exit node that was killed and started again answers packets of connections
//! that it does not know with a proof that it once did, so that agents come back at once and not after silence.
//!
//! The proof is an HMAC of the connection's ID under a key that outlives the process. Only IDs that we gave are answered, so
//! what marks them as ours outlives it too. The key of Retry tokens does not: they live for seconds, and agents keep none.
//! Called by identity.rs, and by server/ for its endpoint.

use std::fmt;
use std::sync::Arc;

use quinn::EndpointConfig;
use quinn::crypto::{CryptoError, HmacKey};
use quinn_proto::{ConnectionIdGenerator, HashedConnectionIdGenerator};
use rustls::crypto::tls13::{Hkdf, OkmBlock};

use crate::limits::RESET_INTERVAL;
use crate::tls::sha256_suite;

/// What the keys are for, as HKDF's info: another purpose needs another one.
const RESET_LABEL: &[u8] = b"hawse stateless reset v1";
/// See `RESET_LABEL`.
const ID_LABEL: &[u8] = b"hawse connection id v1";

/// Derived from one secret; the same again after a restart.
#[derive(Clone)]
pub(crate) struct ResetKeys {
    hkdf: &'static dyn Hkdf,
    reset: OkmBlock,
    id: u64,
}

impl ResetKeys {
    /// By HKDF-SHA256 (RFC 5869); `secret` must have the entropy of a key.
    pub(crate) fn derive(secret: &[u8]) -> Self {
        let hkdf = sha256_suite().hkdf_provider;
        let expander = hkdf.extract_from_secret(None, secret);
        let mut id = [0; 8];
        id.copy_from_slice(&expander.expand_block(&[ID_LABEL]).as_ref()[..8]);
        Self {
            hkdf,
            reset: expander.expand_block(&[RESET_LABEL]),
            id: u64::from_le_bytes(id),
        }
    }

    /// Of an endpoint that accepts.
    pub(crate) fn endpoint_config(&self) -> EndpointConfig {
        let id = self.id;
        let ids = move || -> Box<dyn ConnectionIdGenerator> { Box::new(HashedConnectionIdGenerator::from_key(id)) };
        let mut config = EndpointConfig::new(Arc::new(self.clone()));
        config.cid_generator(ids).min_reset_interval(RESET_INTERVAL);
        config
    }
}

impl HmacKey for ResetKeys {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(self.hkdf.hmac_sign(&self.reset, data).as_ref());
    }

    fn signature_len(&self) -> usize {
        self.reset.as_ref().len()
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let expected = self.hkdf.hmac_sign(&self.reset, data);
        let expected = expected.as_ref();
        let differs = expected.iter().zip(signature).fold(0, |seen, (a, b)| seen | (a ^ b));
        if differs == 0 && expected.len() == signature.len() {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

/// Never shows a key.
impl fmt::Debug for ResetKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResetKeys").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(keys: &ResetKeys, id: &[u8]) -> Vec<u8> {
        let mut token = vec![0; keys.signature_len()];
        keys.sign(id, &mut token);
        token
    }

    #[test]
    fn the_same_secret_gives_the_same_token_and_knows_the_same_ids() {
        let (before, after, other) = (
            ResetKeys::derive(b"one"),
            ResetKeys::derive(b"one"),
            ResetKeys::derive(b"two"),
        );
        let id = HashedConnectionIdGenerator::from_key(before.id).generate_cid();
        assert_eq!(token(&before, &id), token(&after, &id));
        assert_ne!(token(&before, &id), token(&other, &id));
        assert!(HashedConnectionIdGenerator::from_key(after.id).validate(&id).is_ok());
        assert!(HashedConnectionIdGenerator::from_key(other.id).validate(&id).is_err());
        assert!(after.verify(&id, &token(&before, &id)).is_ok());
        for wrong in [token(&other, &id), vec![], token(&before, &id)[..31].to_vec()] {
            assert!(after.verify(&id, &wrong).is_err());
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", ResetKeys::derive(b"one")), "ResetKeys { .. }");
    }
}
