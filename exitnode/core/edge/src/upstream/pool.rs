//! Idle connections to the app of one tunnel, newest first: the last used one is the likeliest to live and the cheapest to
//! wake (LIFO, facts on performance). Bounded in number and age. Does not open anything.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{channel::Channel, h2c};
use crate::limits;

/// What is kept for one tunnel; edits of the tunnel keep it, another token gets a new one.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    http1: Mutex<Shelf<Resting>>,
    /// Locked while the connection is made, so that a burst makes one.
    pub(super) h2c: tokio::sync::Mutex<Option<h2c::Channel>>,
    closed: AtomicBool,
}

impl Pool {
    /// An idle connection. `may_repeat` is false for a request that must not meet a connection which the app is closing.
    pub(super) fn take(&self, now: Instant, may_repeat: bool) -> Option<Channel> {
        let freshness = if may_repeat {
            limits::POOL_IDLE_TIMEOUT
        } else {
            limits::POOL_FRESH
        };
        let resting = self.shelf().take(now, freshness, Resting::is_usable);
        resting.and_then(|mut resting| resting.0.take())
    }

    /// Keeps a connection whose exchange is over, if it may serve another.
    pub(super) fn put(&self, now: Instant, channel: Channel) {
        if self.is_closed() || !channel.is_reusable() {
            return channel.retire();
        }
        self.shelf()
            .put(now, Resting(Some(channel)), limits::POOL_IDLE_PER_TUNNEL);
    }

    /// Closes what was idle for too long, what the app has closed, and what runs over a link that the agent has left.
    pub(crate) fn sweep(&self, now: Instant) {
        self.shelf().sweep(now, limits::POOL_IDLE_TIMEOUT, Resting::is_open);
        if let Ok(mut slot) = self.h2c.try_lock()
            && slot.as_ref().is_some_and(|channel| channel.is_over(now))
        {
            *slot = None;
        }
    }

    /// Ends what is idle now and what becomes idle later: the tunnel is gone, or another token's. Needed because a removed
    /// entry of a papaya map is dropped at some later time.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
        *self.shelf() = Shelf::default();
        if let Ok(mut slot) = self.h2c.try_lock() {
            *slot = None;
        }
    }

    /// Nothing may be kept any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf<Resting>> {
        self.http1.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An idle connection; ends in order when nobody takes it out again. `None` only while it is taken out.
#[derive(Debug)]
struct Resting(Option<Channel>);

impl Resting {
    fn is_usable(&self) -> bool {
        self.0.as_ref().is_some_and(Channel::is_usable)
    }

    fn is_open(&mut self) -> bool {
        self.0.as_mut().is_some_and(Channel::is_open)
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        if let Some(channel) = self.0.take() {
            channel.retire();
        }
    }
}

/// Things with the time at which they were put there, oldest first. Pure.
#[derive(Debug)]
struct Shelf<T>(VecDeque<(Instant, T)>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Shelf<T> {
    /// The newest that is usable and was idle for no longer than `freshness`; unusable ones are dropped on the way.
    fn take(&mut self, now: Instant, freshness: Duration, usable: impl Fn(&T) -> bool) -> Option<T> {
        while let Some((since, _)) = self.0.back() {
            if now.saturating_duration_since(*since) > freshness {
                return None;
            }
            let (_, item) = self.0.pop_back()?;
            if usable(&item) {
                return Some(item);
            }
        }
        None
    }

    fn put(&mut self, now: Instant, item: T, most: usize) {
        if self.0.len() >= most {
            self.0.pop_front();
        }
        self.0.push_back((now, item));
    }

    /// Drops what is old or not usable.
    fn sweep(&mut self, now: Instant, age: Duration, usable: impl Fn(&mut T) -> bool) {
        self.0
            .retain_mut(|(since, item)| now.saturating_duration_since(*since) <= age && usable(item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn shelf(now: Instant, items: &[(u64, i32)]) -> Shelf<i32> {
        Shelf(
            items
                .iter()
                .map(|(ago, item)| (now - SECOND * u32::try_from(*ago).unwrap(), *item))
                .collect(),
        )
    }

    fn now() -> Instant {
        Instant::now() + SECOND * 1000
    }

    fn left(shelf: &Shelf<i32>) -> Vec<i32> {
        shelf.0.iter().map(|(_, item)| *item).collect()
    }

    #[test]
    fn the_newest_usable_one_is_taken() {
        let now = now();
        let mut shelf = shelf(now, &[(9, 1), (5, 2), (1, 3)]);
        assert_eq!(shelf.take(now, SECOND * 10, |n| *n != 3), Some(2));
        assert_eq!(shelf.take(now, SECOND * 10, |_| true), Some(1));
        assert_eq!(shelf.take(now, SECOND * 10, |_| true), None);
    }

    #[test]
    fn one_that_was_idle_for_too_long_is_left_where_it_is() {
        let now = now();
        let mut shelf = shelf(now, &[(9, 1), (5, 2)]);
        assert_eq!(shelf.take(now, SECOND, |_| true), None);
        assert_eq!(left(&shelf), [1, 2]);
    }

    #[test]
    fn a_full_shelf_drops_its_oldest() {
        let now = now();
        let mut shelf = shelf(now, &[(9, 1), (5, 2)]);
        shelf.put(now, 3, 2);
        assert_eq!(left(&shelf), [2, 3]);
    }

    #[test]
    fn the_old_and_the_unusable_are_swept_out() {
        let now = now();
        let mut shelf = shelf(now, &[(31, 1), (30, 2), (5, 3), (1, 4)]);
        shelf.sweep(now, SECOND * 30, |item| *item != 3);
        assert_eq!(left(&shelf), [2, 4]);
    }
}
