//! Whether this exit node has been without its operator for too long: then nobody reaches an agent through it.
//!
//! Python decides (`hawse_exitnode/staleness.py`), the dialer asks. One relaxed load for each request while all is well. What
//! leads to no agent (a Service, a URL) never comes here.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// See the module.
#[derive(Debug, Default)]
pub struct Staleness {
    is_stale: AtomicBool,
    /// What visitors are told.
    says: Mutex<String>,
}

impl Staleness {
    /// From now on agents are out of reach, for this reason; empty: they are not.
    pub fn set(&self, says: &str) {
        says.clone_into(&mut self.says.lock().unwrap_or_else(PoisonError::into_inner));
        self.is_stale.store(!says.is_empty(), Relaxed);
    }

    /// Cheap: asked for each request.
    pub fn is_stale(&self) -> bool {
        self.is_stale.load(Relaxed)
    }

    /// Why agents are out of reach, if they are.
    pub fn reason(&self) -> Option<String> {
        self.is_stale()
            .then(|| self.says.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_stale_as_long_as_there_is_a_reason() {
        let staleness = Staleness::default();
        assert_eq!((staleness.is_stale(), staleness.reason()), (false, None));
        staleness.set("Not heard since noon.");
        assert_eq!(
            (staleness.is_stale(), staleness.reason().as_deref()),
            (true, Some("Not heard since noon."))
        );
        staleness.set("");
        assert_eq!((staleness.is_stale(), staleness.reason()), (false, None));
    }
}
