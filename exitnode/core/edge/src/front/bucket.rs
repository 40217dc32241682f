//! A token bucket: how many things that cost work and carry nothing a connection may send. Pure.
//!
//! Used for HTTP/2 frames (meter.rs) and for HTTP/3 frames and resets (h3/guard/ledger.rs).

use std::time::Duration;

use tokio::time::Instant;

/// Too many; the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many frames that carry nothing")]
pub(super) struct TooMany;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    tokens: u32,
    filled: Instant,
    burst: u32,
    per_second: u32,
}

impl Bucket {
    /// Full at `now`.
    pub(super) fn new(now: Instant, burst: u32, per_second: u32) -> Self {
        Self {
            tokens: burst,
            filled: now,
            burst,
            per_second,
        }
    }

    /// Takes one token.
    pub(super) fn spend(&mut self, now: Instant) -> Result<(), TooMany> {
        self.refill(now);
        self.tokens = self.tokens.checked_sub(1).ok_or(TooMany)?;
        Ok(())
    }

    /// Gives tokens back, up to the burst.
    pub(super) fn earn(&mut self, tokens: u32) {
        self.tokens = self.tokens.saturating_add(tokens).min(self.burst);
    }

    fn refill(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.filled).as_secs();
        if earned > 0 {
            self.filled += Duration::from_secs(earned);
            let earned = u32::try_from(earned)
                .unwrap_or(u32::MAX)
                .saturating_mul(self.per_second);
            self.earn(earned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_earns_tokens_up_to_the_burst_and_never_more() {
        for (waited_s, earned) in [(0, 0), (2, 20), (86_400, 100)] {
            let now = Instant::now();
            let mut bucket = Bucket::new(now, 100, 10);
            for _ in 0..100 {
                bucket.spend(now).unwrap();
            }
            let later = now + Duration::from_secs(waited_s);
            for _ in 0..earned {
                bucket.spend(later).unwrap();
            }
            assert_eq!(bucket.spend(later), Err(TooMany), "{waited_s}");
        }
    }
}
