//! Who may go to a tunnel's app now, who waits, and who is next: so many at once, first come first served within one
//! address, round robin among addresses, so that an address with many requests delays itself only.
//!
//! Pure: no clock, no waker, no lock. A waiter is a value of the caller's, given back when its turn has come (gate.rs).

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

/// Bounds of what waits; what runs is bounded by `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Waiters in all.
    pub(crate) total: usize,
    /// Waiters of one address.
    pub(crate) per_address: usize,
}

/// What became of a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entered {
    /// It runs: say [`FairQueue::leave`] at its end.
    Running,
    /// It waits under this number.
    Waiting(u64),
    /// There is no place to wait in.
    Full,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct FairQueue<W> {
    most: usize,
    bounds: Bounds,
    running: usize,
    /// Only addresses with a waiter, each one's oldest first.
    waiting: HashMap<IpAddr, VecDeque<(u64, W)>>,
    /// The same addresses, whose turn is next first.
    turns: VecDeque<IpAddr>,
    queued: usize,
    numbers: u64,
}

impl<W> FairQueue<W> {
    pub(crate) fn new(most: usize, bounds: Bounds) -> Self {
        Self {
            most,
            bounds,
            running: 0,
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            queued: 0,
            numbers: 0,
        }
    }

    /// How many may run.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// How many wait.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Somebody comes; `waiter` is asked for only if it has to wait.
    pub(crate) fn enter(&mut self, address: IpAddr, waiter: impl FnOnce() -> W) -> Entered {
        // Whoever waits was here before: nobody waits while there is a free place.
        if self.running < self.most {
            self.running += 1;
            return Entered::Running;
        }
        let here = self.waiting.get(&address).map_or(0, VecDeque::len);
        if self.queued >= self.bounds.total || here >= self.bounds.per_address {
            return Entered::Full;
        }
        if here == 0 {
            self.turns.push_back(address);
        }
        self.numbers += 1;
        self.queued += 1;
        self.waiting
            .entry(address)
            .or_default()
            .push_back((self.numbers, waiter()));
        Entered::Waiting(self.numbers)
    }

    /// One that ran has ended: the next one, which runs now.
    pub(crate) fn leave(&mut self) -> Option<W> {
        self.running = self.running.saturating_sub(1);
        self.next()
    }

    /// The next one, if there is a free place: it runs now. Only after [`Self::set_most`] can there be several.
    pub(crate) fn next(&mut self) -> Option<W> {
        if self.running >= self.most {
            return None;
        }
        let address = self.turns.pop_front()?;
        let line = self.waiting.get_mut(&address)?;
        let (_, waiter) = line.pop_front()?;
        if line.is_empty() {
            self.waiting.remove(&address);
        } else {
            self.turns.push_back(address);
        }
        self.queued -= 1;
        self.running += 1;
        Some(waiter)
    }

    /// One that waited under `number` gives up. False: it is not waiting any more.
    pub(crate) fn cancel(&mut self, address: IpAddr, number: u64) -> bool {
        let Some(line) = self.waiting.get_mut(&address) else {
            return false;
        };
        let Ok(at) = line.binary_search_by_key(&number, |(number, _)| *number) else {
            return false;
        };
        line.remove(at);
        self.queued -= 1;
        if line.is_empty() {
            self.waiting.remove(&address);
            self.turns.retain(|turn| *turn != address);
        }
        true
    }

    /// Another bound of what runs: those who are in stay, call [`Self::next`] until it gives nobody.
    pub(crate) fn set_most(&mut self, most: usize) {
        self.most = most;
    }
}

#[cfg(test)]
mod tests;
