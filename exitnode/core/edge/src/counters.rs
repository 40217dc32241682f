//! What `Core.snapshot` reads of the edge: counters per tunnel and in total. Written by the listener and the count layer.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use hawse_proto::{
    codes::{self, Code},
    core::{Snapshot, TunnelCounters},
};

use crate::{fault, shield};

/// All codes that exist; the counters are an array in this order.
const CODES: usize = codes::ALL.len();

/// Counters of one tunnel since the tunnel was first applied; edits keep them.
#[derive(Debug)]
pub(crate) struct Counters {
    requests: AtomicU64,
    /// By hundreds of the status; 0 = the visitor left before the head of an answer.
    by_class: [AtomicU64; 6],
    errors: [AtomicU64; CODES],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    in_flight: AtomicU64,
    pub(crate) shield: Arc<shield::Counters>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            by_class: [const { AtomicU64::new(0) }; 6],
            errors: [const { AtomicU64::new(0) }; CODES],
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            shield: Arc::default(),
        }
    }
}

impl Counters {
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// `None`: the visitor left before there was one.
    pub(crate) fn answer(&self, status: Option<u16>) {
        let class = usize::from(status.unwrap_or(0) / 100);
        if let Some(count) = self.by_class.get(class) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn error(&self, code: &Code) {
        if let Some(at) = codes::ALL.iter().position(|each| each.number == code.number)
            && let Some(count) = self.errors.get(at)
        {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn took(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn gave(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn enter(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// What was counted; how many wait is known to the tunnel's gate.
    pub(crate) fn read(&self, tunnel_uid: &str) -> TunnelCounters {
        let read = |count: &AtomicU64| count.load(Relaxed);
        TunnelCounters {
            tunnel_uid: tunnel_uid.into(),
            requests: read(&self.requests),
            by_class: self.by_class.iter().map(read).collect(),
            errors: (codes::ALL.iter().zip(&self.errors))
                .filter(|(_, count)| read(count) > 0)
                .map(|(code, count)| (fault::text(code), read(count)))
                .collect(),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            in_flight: read(&self.in_flight),
            queued: 0,
            standby: None,
            shield: None,
        }
    }
}

/// Counters that belong to no tunnel.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) open: AtomicU64,
    pub(crate) total: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) unknown_host: AtomicU64,
}

impl Totals {
    pub(crate) fn read(&self, out: &mut Snapshot) {
        out.connections_open = self.open.load(Relaxed);
        out.connections_total = self.total.load(Relaxed);
        out.connections_refused = self.refused.load(Relaxed);
        out.handshakes_failed = self.handshakes_failed.load(Relaxed);
        out.unknown_host = self.unknown_host.load(Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_names_only_the_codes_that_occurred() {
        let counters = Counters::default();
        counters.request();
        counters.answer(Some(502));
        counters.answer(None);
        counters.error(&codes::APP_REFUSED);
        counters.enter();
        let read = counters.read("u1");
        assert_eq!(read.by_class, [1, 0, 0, 0, 0, 1]);
        assert_eq!(
            read.errors.into_iter().collect::<Vec<_>>(),
            [("HAWSE-1003".to_owned(), 1)]
        );
        assert_eq!((read.requests, read.in_flight), (1, 1));
    }
}
