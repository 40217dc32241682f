//! What a tunnel's shield did, for `Core.snapshot`. Kept over edits, like the tunnel's other counters.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use hawse_proto::core;

/// One more of each since the tunnel was first applied; `bytes` goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) collapsed: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) bypassed: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> core::ShieldCounters {
        let read = |count: &AtomicU64| count.load(Relaxed);
        core::ShieldCounters {
            hits: read(&self.hits),
            misses: read(&self.misses),
            collapsed: read(&self.collapsed),
            stale: read(&self.stale),
            bypassed: read(&self.bypassed),
            bytes: read(&self.bytes),
        }
    }
}

/// Bytes of a stored answer, counted until the last visitor has them.
#[derive(Debug)]
pub(super) struct Held {
    counters: Arc<Counters>,
    bytes: u64,
}

impl Held {
    pub(super) fn new(counters: &Arc<Counters>, bytes: usize) -> Self {
        let bytes = bytes as u64;
        counters.bytes.fetch_add(bytes, Relaxed);
        Self {
            counters: counters.clone(),
            bytes,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counters.bytes.fetch_sub(self.bytes, Relaxed);
    }
}
