//! The places at one tunnel's app: a request takes one, or waits for one in turn (fair_queue.rs decides whose turn it is).
//!
//! A place is a value that gives itself on when it is dropped, also when it was handed to a waiter that has just gone: so no
//! place and no wake-up is lost. Lives as long as the tunnel; edits keep it. Used by the admit layer.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::{
    fair_queue::{Bounds, Entered, FairQueue},
    limits,
};

/// See the module. Cheap to clone; clones are the same gate.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Mutex<FairQueue<oneshot::Sender<Place>>>>);

impl Default for Gate {
    fn default() -> Self {
        Self::new(
            limits::TUNNEL_REQUESTS,
            Bounds {
                total: limits::TUNNEL_QUEUE,
                per_address: limits::TUNNEL_QUEUE_PER_ADDRESS,
            },
        )
    }
}

/// What a request gets.
pub(crate) enum Entry {
    Placed(Place),
    Waits(Waiting),
    /// Too many wait.
    Full,
}

impl Gate {
    pub(crate) fn new(most: usize, bounds: Bounds) -> Self {
        Self(Arc::new(Mutex::new(FairQueue::new(most, bounds))))
    }

    /// A request of `address` comes.
    pub(crate) fn enter(&self, address: IpAddr) -> Entry {
        let mut turn = None;
        let entered = self.queue().enter(address, || {
            let (sender, receiver) = oneshot::channel();
            turn = Some(receiver);
            sender
        });
        match (entered, turn) {
            (Entered::Running, _) => Entry::Placed(Place(self.clone())),
            (Entered::Waiting(number), Some(turn)) => Entry::Waits(Waiting {
                turn,
                _queued: Queued {
                    gate: self.clone(),
                    address,
                    number,
                },
            }),
            (Entered::Full | Entered::Waiting(_), _) => Entry::Full,
        }
    }

    /// Lets so many in from now on.
    pub(crate) fn set_most(&self, most: usize) {
        self.queue().set_most(most);
        while let Some(next) = self.next() {
            self.give(next);
        }
    }

    /// How many run at most.
    pub(crate) fn most(&self) -> usize {
        self.queue().most()
    }

    /// How many wait now.
    pub(crate) fn queued(&self) -> usize {
        self.queue().queued()
    }

    /// Gives a place to a waiter. One that has just gone drops it, and it goes to the next.
    fn give(&self, waiter: oneshot::Sender<Place>) {
        let _ = waiter.send(Place(self.clone()));
    }

    // On its own, so that the lock is free when a place comes back at once.
    fn next(&self) -> Option<oneshot::Sender<Place>> {
        self.queue().next()
    }

    fn queue(&self) -> MutexGuard<'_, FairQueue<oneshot::Sender<Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's place; dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Place(Gate);

impl Drop for Place {
    fn drop(&mut self) {
        let next = self.0.queue().leave();
        if let Some(next) = next {
            self.0.give(next);
        }
    }
}

/// A request that waits for its turn. Dropping it gives the turn up.
pub(crate) struct Waiting {
    turn: oneshot::Receiver<Place>,
    _queued: Queued,
}

impl Waiting {
    /// Resolves at its turn; `None` can't happen while the gate lives. Cancel safe.
    pub(crate) async fn place(&mut self) -> Option<Place> {
        (&mut self.turn).await.ok()
    }
}

/// Leaves the queue, if it is still in it.
struct Queued {
    gate: Gate,
    address: IpAddr,
    number: u64,
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut queue = self.gate.queue();
        queue.cancel(self.address, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        total: 2,
        per_address: 2,
    };

    fn enter(gate: &Gate) -> Entry {
        gate.enter([10, 0, 0, 1].into())
    }

    fn placed(gate: &Gate) -> Place {
        match enter(gate) {
            Entry::Placed(place) => place,
            _ => panic!("no place"),
        }
    }

    fn waits(gate: &Gate) -> Waiting {
        match enter(gate) {
            Entry::Waits(waiting) => waiting,
            _ => panic!("it does not wait"),
        }
    }

    #[tokio::test]
    async fn a_place_that_is_dropped_wakes_the_next() {
        let gate = Gate::new(1, BOUNDS);
        let first = placed(&gate);
        let (mut second, mut third) = (waits(&gate), waits(&gate));
        assert!(matches!(enter(&gate), Entry::Full));
        assert_eq!(gate.queued(), 2);
        drop(first);
        let second = second.place().await.unwrap();
        assert_eq!(gate.queued(), 1);
        drop(second);
        drop(third.place().await.unwrap());
        drop(placed(&gate));
    }

    #[tokio::test]
    async fn a_waiter_that_goes_leaves_the_queue_and_passes_on_what_it_was_just_given() {
        let gate = Gate::new(1, BOUNDS);
        let first = placed(&gate);
        drop(waits(&gate));
        assert_eq!(gate.queued(), 0);
        let (given, mut next) = (waits(&gate), waits(&gate));
        drop(first);
        drop(given); // it has a place that it never took up
        drop(next.place().await.unwrap());
        assert_eq!(gate.queued(), 0);
        drop(placed(&gate));
    }

    #[tokio::test]
    async fn a_higher_bound_lets_those_in_who_wait() {
        let gate = Gate::new(1, BOUNDS);
        let _first = placed(&gate);
        let (mut second, mut third) = (waits(&gate), waits(&gate));
        gate.set_most(3);
        let _places = (second.place().await.unwrap(), third.place().await.unwrap());
        assert_eq!(gate.queued(), 0);
        assert!(matches!(enter(&gate), Entry::Waits(_)));
    }
}
