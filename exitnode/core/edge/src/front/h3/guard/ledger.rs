//! What one connection has cost so far. Past a bound the connection is closed with H3_EXCESSIVE_LOAD.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
};

use h3::error::Code;
use tokio::time::Instant;

use crate::{front::bucket::Bucket, limits};

/// See the module. Shared by the streams of a connection.
#[derive(Debug)]
pub(in crate::front::h3) struct Ledger {
    quic: quinn::Connection,
    waste: Mutex<Bucket>,
    kept: AtomicUsize,
    vain: AtomicU32,
}

impl Ledger {
    pub(in crate::front::h3) fn new(quic: quinn::Connection) -> Self {
        let (burst, per_second) = (limits::H3_WASTE_BURST, limits::H3_WASTE_PER_SECOND);
        Self {
            quic,
            waste: Mutex::new(Bucket::new(Instant::now(), burst, per_second)),
            kept: AtomicUsize::new(0),
            vain: AtomicU32::new(0),
        }
    }

    /// So many resets, or frames and streams that carry nothing.
    pub(in crate::front::h3) fn waste(&self, count: u32) {
        let mut bucket = self.bucket();
        if (0..count).any(|_| bucket.spend(Instant::now()).is_err()) {
            self.close(
                Code::H3_EXCESSIVE_LOAD,
                b"too many resets, or frames that carry nothing",
            );
        }
    }

    /// A visitor took a whole answer.
    pub(in crate::front::h3) fn served(&self) {
        self.bucket().earn(limits::H3_WASTE_EARNED);
    }

    /// A stream brought no request. True once a connection has had so many that it must end: h3 never forgets them.
    pub(in crate::front::h3) fn came_in_vain(&self) -> bool {
        self.vain.fetch_add(1, Relaxed) + 1 >= limits::H3_VAIN_STREAMS
    }

    /// A stream keeps `now` bytes of frames that are not whole, and kept `before`.
    pub(super) fn keep(&self, before: usize, now: usize) {
        let kept = if now >= before {
            self.kept.fetch_add(now - before, Relaxed) + (now - before)
        } else {
            self.kept.fetch_sub(before - now, Relaxed) - (before - now)
        };
        if kept > limits::H3_KEPT_BYTES {
            self.close(Code::H3_EXCESSIVE_LOAD, b"too many heads that are not whole");
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.waste.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self, code: Code, reason: &[u8]) {
        self.quic.close(super::number(code), reason);
    }
}
