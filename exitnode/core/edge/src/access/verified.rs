//! Credentials that were verified a moment ago, so that a password costs its 50 ms and a token its signature once and not with
//! every request.
//!
//! Kept as a keyed hash: neither the credential nor a digest that could be tried against a dictionary stands in memory. The
//! hash includes the compiled form of the policy, so that an edit or another Secret forgets everything. Bounded; entries end by
//! themselves.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::{hmac, rand};
use tokio::time::Instant;

use super::identity::Identity;
use crate::limits;

/// What stands for a credential.
pub(crate) type Digest = [u8; 32];

/// See the module.
pub(super) struct Verified {
    key: hmac::Key,
    /// There was randomness for the key; without it nothing is kept.
    is_keyed: bool,
    entries: Mutex<HashMap<Digest, Entry>>,
}

struct Entry {
    identity: Arc<Identity>,
    until: Instant,
}

impl Default for Verified {
    fn default() -> Self {
        let mut key = Digest::default();
        let is_keyed = rand::fill(&mut key).is_ok();
        Self {
            is_keyed,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            entries: Mutex::default(),
        }
    }
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verified")
    }
}

impl Verified {
    /// `epoch`: of the policy's compiled form. `method`: the same bytes as another credential are another one.
    pub(super) fn digest(&self, epoch: u64, method: u8, credential: &[u8]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&epoch.to_be_bytes());
        context.update(&[method]);
        context.update(credential);
        let mut digest = Digest::default();
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    pub(super) fn find(&self, digest: &Digest, now: Instant) -> Option<Arc<Identity>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(digest).filter(|entry| entry.until > now)?;
        Some(entry.identity.clone())
    }

    pub(super) fn put(&self, digest: Digest, identity: Arc<Identity>, until: Instant, now: Instant) {
        if !self.is_keyed {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= limits::ACCESS_VERIFIED {
            entries.retain(|_, entry| entry.until > now);
        }
        if entries.len() >= limits::ACCESS_VERIFIED {
            // Any: it is verified once more, no more than that.
            let any = entries.keys().next().copied();
            any.map(|digest| entries.remove(&digest));
        }
        entries.insert(digest, Entry { identity, until });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::identity::Claims;

    fn ada() -> Arc<Identity> {
        Arc::new(Identity::new("ada", Claims::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_credential_is_known_until_its_end() {
        let (verified, now) = (Verified::default(), Instant::now());
        let digest = verified.digest(1, 0, b"ada:secret");
        assert_eq!(verified.find(&digest, now), None);
        verified.put(digest, ada(), now + Duration::from_secs(60), now);
        assert_eq!(verified.find(&digest, now + Duration::from_secs(59)), Some(ada()));
        assert_eq!(verified.find(&digest, now + Duration::from_secs(60)), None);
    }

    #[test]
    fn another_policy_method_credential_or_process_has_another_digest() {
        let verified = Verified::default();
        let one = verified.digest(1, 0, b"ada:secret");
        assert_eq!(one, verified.digest(1, 0, b"ada:secret"));
        assert_ne!(one, verified.digest(2, 0, b"ada:secret"));
        assert_ne!(one, verified.digest(1, 1, b"ada:secret"));
        assert_ne!(one, verified.digest(1, 0, b"ada:secreu"));
        assert_ne!(one, Verified::default().digest(1, 0, b"ada:secret"));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_the_bound() {
        let (verified, now) = (Verified::default(), Instant::now());
        for number in 0..limits::ACCESS_VERIFIED as u64 + 5 {
            let digest = verified.digest(number, 0, b"");
            verified.put(digest, ada(), now + Duration::from_secs(60), now);
        }
        assert_eq!(verified.entries.lock().unwrap().len(), limits::ACCESS_VERIFIED);
    }
}
