//! Keeps the whole process within its memory: looks a few times a second at what it has, refuses new requests when that is
//! near the bound, new connections when it is nearer still, and meanwhile cuts off those who have stood still for longest.
//!
//! Every other bound of limits.rs is of one visitor, request or link; this one is of their sum. As Envoy's overload manager
//! does it: heap against a fixed size, and a lower mark at which all is well again. Run by the listener; asked by caps.rs
//! and by the admit layer. What the process has is read in memory.rs.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};

use crate::{limits, shared::Shared};

/// How near the bound the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Fine,
    /// New requests are refused.
    High,
    /// New connections of visitors too.
    Full,
}

/// The level as everybody reads it.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    level: AtomicU8,
    /// At each look while the level is not fine.
    felt: Notify,
}

impl Pressure {
    pub(crate) fn refuses_requests(&self) -> bool {
        self.level.load(Relaxed) >= Level::High as u8
    }

    pub(crate) fn refuses_connections(&self) -> bool {
        self.level.load(Relaxed) >= Level::Full as u8
    }

    /// Resolves when memory is short, again at each look. For one waiter. Cancel safe.
    pub(crate) async fn felt(&self) {
        self.felt.notified().await;
    }

    fn set(&self, level: Level) {
        self.level.store(level as u8, Relaxed);
    }

    /// As if the process had used this much of its memory.
    #[cfg(test)]
    pub(crate) fn simulate(&self, percent: u64) {
        self.set(next(Level::Fine, percent * 1000, 100_000));
    }
}

/// Looks until it is dropped, or until what the process has can't be read. `most`: bytes; 0: there is no bound. Cancel safe.
pub(crate) async fn watch(shared: &Shared, most: u64, used: impl Fn() -> Option<u64>) {
    if most == 0 {
        return;
    }
    let mut level = Level::Fine;
    let mut look = interval(limits::MEMORY_LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let Some(used) = used() else { return };
        level = next(level, used, most);
        shared.pressure.set(level);
        if level != Level::Fine {
            shared.stalls.relieve();
            shared.uploads.relieve();
            shared.pressure.felt.notify_one();
        }
    }
}

fn next(before: Level, used: u64, most: u64) -> Level {
    let above = |percent: u64| used / 100 >= most / 10_000 * percent;
    if above(limits::MEMORY_FULL_PERCENT) {
        Level::Full
    } else if above(limits::MEMORY_HIGH_PERCENT) || (before != Level::Fine && above(limits::MEMORY_LOW_PERCENT)) {
        Level::High
    } else {
        Level::Fine
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    const MOST: u64 = 1 << 30;

    #[test]
    fn requests_come_back_only_well_below_where_they_were_refused() {
        for (before, percent, after) in [
            (Level::Fine, 84, Level::Fine),
            (Level::Fine, 86, Level::High),
            (Level::High, 84, Level::High),
            (Level::High, 79, Level::Fine),
            (Level::High, 96, Level::Full),
            (Level::Full, 94, Level::High),
            (Level::Full, 50, Level::Fine),
        ] {
            assert_eq!(
                next(before, MOST / 100 * percent, MOST),
                after,
                "{before:?} {percent} %"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_still_is_cut_off_in_turn_until_there_is_room_again() {
        let (shared, used) = (Shared::default(), AtomicU64::new(MOST / 10));
        let mut answers: Vec<_> = (0..8).map(|_| shared.stalls.enter(Instant::now())).collect();
        let mut upload = shared.uploads.enter(Instant::now());
        tokio::select! {
            () = watch(&shared, MOST, || Some(used.load(Relaxed))) => panic!("it looks for ever"),
            () = async {
                sleep(limits::MEMORY_LOOK * 3 / 2).await; // between two looks
                assert!(!shared.pressure.refuses_requests());
                used.store(MOST / 100 * 90, Relaxed);
                sleep(limits::MEMORY_LOOK).await;
                assert!(shared.pressure.refuses_requests() && !shared.pressure.refuses_connections());
                shared.pressure.felt().await;
                used.store(MOST / 100 * 50, Relaxed);
                sleep(limits::MEMORY_LOOK * 3).await;
                assert!(!shared.pressure.refuses_requests());
                assert!(timeout(limits::MEMORY_LOOK * 3, shared.pressure.felt()).await.is_err());
            } => {}
        }
        let cut: Vec<bool> = answers.iter_mut().map(crate::stalls::tests::is_cut_now).collect();
        assert_eq!(cut, [true, true, false, false, false, false, false, false]);
        assert!(crate::stalls::tests::is_cut_now(&mut upload));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bound_or_a_reading_nothing_is_watched() {
        let shared = Shared::default();
        watch(&shared, 0, || Some(u64::MAX)).await;
        watch(&shared, MOST, || None).await;
        assert!(!shared.pressure.refuses_requests());
    }
}
