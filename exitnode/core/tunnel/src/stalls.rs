//! How many streams of other exit nodes may stand still at once: each keeps up to a window of what nobody takes. One more, and
//! the one that has stood longest is cut off. The edge's rule for visitors who take nothing, one hop further on; its patience
//! with a single one is what ends those here too. Called by relay.rs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::limits::{STALLED_ANSWERS, STALLED_REQUESTS};

/// Both directions of the streams that a process passes on.
#[derive(Debug)]
pub(crate) struct Relayed {
    pub(crate) requests: Stalls,
    pub(crate) answers: Stalls,
}

impl Default for Relayed {
    fn default() -> Self {
        Self {
            requests: Stalls::new(STALLED_REQUESTS),
            answers: Stalls::new(STALLED_ANSWERS),
        }
    }
}

/// Those that stand still in one direction.
#[derive(Debug)]
pub(crate) struct Stalls {
    most: usize,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    numbers: u64,
    /// By number, so the longest first. A sender that is dropped cuts off.
    places: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Stalls {
    fn new(most: usize) -> Self {
        Self {
            most,
            standing: Mutex::default(),
        }
    }

    /// One more stands still.
    pub(crate) fn enter(&self) -> Place<'_> {
        let (sender, cut) = oneshot::channel();
        let mut standing = self.standing();
        standing.numbers += 1;
        let number = standing.numbers;
        standing.places.insert(number, sender);
        if standing.places.len() > self.most {
            standing.places.pop_first();
        }
        Place {
            stalls: self,
            number,
            cut,
        }
    }

    /// There is too little memory for all of them: a quarter, the longest standing, is cut off.
    pub(crate) fn relieve(&self) {
        let mut standing = self.standing();
        for _ in 0..standing.places.len().div_ceil(4) {
            standing.places.pop_first();
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that stands still; forgotten when it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    stalls: &'a Stalls,
    number: u64,
    cut: oneshot::Receiver<()>,
}

impl Place<'_> {
    /// Resolves when it has to make room. Cancel safe.
    pub(crate) async fn cut(&mut self) {
        let _ = (&mut self.cut).await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.stalls.standing().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of those that have to make room.
    fn cut(places: &mut [Place<'_>]) -> Vec<u64> {
        let is_cut = |place: &mut Place<'_>| place.cut.try_recv() != Err(oneshot::error::TryRecvError::Empty);
        places
            .iter_mut()
            .filter_map(|place| is_cut(place).then_some(place.number))
            .collect()
    }

    #[test]
    fn the_longest_standing_makes_room_and_who_goes_on_leaves_its_place() {
        let stalls = Stalls::new(2);
        let mut places = vec![stalls.enter(), stalls.enter()];
        assert!(cut(&mut places).is_empty());
        places.push(stalls.enter());
        assert_eq!(cut(&mut places), [1]);
        drop(places.remove(1));
        places.push(stalls.enter());
        assert_eq!(cut(&mut places), [1], "there was room");
        drop(places);
        assert!(stalls.standing().places.is_empty());
    }

    #[test]
    fn a_quarter_and_at_least_one_is_cut_off_when_memory_is_short() {
        let stalls = Stalls::new(10);
        let mut places: Vec<Place<'_>> = (0..5).map(|_| stalls.enter()).collect();
        stalls.relieve();
        assert_eq!(cut(&mut places), [1, 2]);
        stalls.relieve();
        assert_eq!(cut(&mut places), [1, 2, 3]);
    }
}
