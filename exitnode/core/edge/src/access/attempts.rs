//! Wrong passwords and API keys of one address: after ten, one more every six seconds.
//!
//! One moment per address (GCRA): each attempt moves it on, a right one moves it back, and while it lies too far ahead nothing
//! from there is tried. So what is tried at the same time counts. Addresses of one IPv6 /64 are one. Who is verified already is not
//! asked again: others behind the same address stay in. Pure.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{caps::visitor_of, limits};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    settled_at: Mutex<HashMap<IpAddr, Instant>>,
}

impl Attempts {
    /// An address is about to try something, which counts as wrong until it was right; or how long nothing from there is tried.
    pub(super) fn begin(&self, visitor: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut settled_at = self.settled_at.lock().unwrap_or_else(PoisonError::into_inner);
        let visitor = visitor_of(visitor);
        let debt = (settled_at.get(&visitor)).map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let too_much = debt.saturating_sub(limits::ACCESS_FAILURE_FORGOTTEN * (limits::ACCESS_FAILURES - 1));
        if !too_much.is_zero() {
            return Err(too_much);
        }
        if settled_at.len() >= limits::ACCESS_ADDRESSES && !settled_at.contains_key(&visitor) {
            settled_at.retain(|_, at| *at > now);
            if settled_at.len() >= limits::ACCESS_ADDRESSES {
                // All of them are busy guessing: the one that owes least is let off.
                let least = settled_at
                    .iter()
                    .min_by_key(|(_, at)| **at)
                    .map(|(address, _)| *address);
                least.map(|address| settled_at.remove(&address));
            }
        }
        let at = settled_at.entry(visitor).or_insert(now);
        *at = (*at).max(now) + limits::ACCESS_FAILURE_FORGOTTEN;
        Ok(())
    }

    /// What it tried was right.
    pub(super) fn was_right(&self, visitor: IpAddr) {
        let mut settled_at = self.settled_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = settled_at.get_mut(&visitor_of(visitor)) {
            *at = at.checked_sub(limits::ACCESS_FAILURE_FORGOTTEN).unwrap_or(*at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn after_ten_failures_one_more_is_tried_every_six_seconds() {
        let (attempts, one, now) = (Attempts::default(), address("203.0.113.7"), Instant::now());
        for _ in 0..limits::ACCESS_FAILURES {
            assert_eq!(attempts.begin(one, now), Ok(()));
        }
        assert_eq!(attempts.begin(one, now), Err(limits::ACCESS_FAILURE_FORGOTTEN));
        assert_eq!(attempts.begin(address("203.0.113.8"), now), Ok(()));
        let later = now + limits::ACCESS_FAILURE_FORGOTTEN;
        assert_eq!(attempts.begin(one, later), Ok(()));
        assert!(attempts.begin(one, later).is_err());
        assert_eq!(attempts.begin(one, now + Duration::from_secs(3600)), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_right_does_not_count() {
        let (attempts, one, now) = (Attempts::default(), address("203.0.113.7"), Instant::now());
        for _ in 0..10 * limits::ACCESS_FAILURES {
            assert_eq!(attempts.begin(one, now), Ok(()));
            attempts.was_right(one);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_of_one_network_are_one() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..limits::ACCESS_FAILURES {
            attempts.begin(address(&format!("2001:db8::{number:x}")), now).unwrap();
        }
        assert!(attempts.begin(address("2001:db8::ffff"), now).is_err());
        assert!(attempts.begin(address("2001:db8:0:1::1"), now).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_addresses_guess_the_table_is_bounded() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let worst = address("203.0.113.7");
        (0..limits::ACCESS_FAILURES).for_each(|_| attempts.begin(worst, now).unwrap());
        for number in 0..limits::ACCESS_ADDRESSES as u32 + 3 {
            attempts.begin(IpAddr::V4((0x0a00_0000 + number).into()), now).unwrap();
        }
        assert_eq!(attempts.settled_at.lock().unwrap().len(), limits::ACCESS_ADDRESSES);
        assert!(attempts.begin(worst, now).is_err());
    }
}
