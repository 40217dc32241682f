//! How many directions of relayed streams may stand still at once: each keeps up to a window of what nobody takes. One more,
//! and the one that has stood longest is cut off. The same rule as the edge's for visitors who take nothing. Called by relay.rs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::limits::STALLED_RELAYS;

#[derive(Debug, Default)]
pub(crate) struct Stalls(Mutex<Standing>);

#[derive(Debug, Default)]
struct Standing {
    numbers: u64,
    /// By number, so the longest first. A sender that is dropped cuts off.
    places: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Stalls {
    /// One more stands still.
    pub(crate) fn enter(&self) -> Place<'_> {
        let (sender, cut) = oneshot::channel();
        let mut standing = self.standing();
        standing.numbers += 1;
        let number = standing.numbers;
        standing.places.insert(number, sender);
        if standing.places.len() > STALLED_RELAYS {
            standing.places.pop_first();
        }
        Place {
            stalls: self,
            number,
            cut,
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn is_cut(place: &mut Place<'_>) -> bool {
        timeout(Duration::ZERO, place.cut()).await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_standing_makes_room_and_who_goes_on_leaves_its_place() {
        let stalls = Stalls::default();
        let mut places: Vec<Place<'_>> = (0..STALLED_RELAYS).map(|_| stalls.enter()).collect();
        assert!(!is_cut(&mut places[0]).await);
        let _one_more = stalls.enter();
        assert!(is_cut(&mut places[0]).await && !is_cut(&mut places[1]).await);
        drop(places.remove(2));
        let _its_place = stalls.enter();
        assert!(!is_cut(&mut places[1]).await);
        drop((places, _one_more, _its_place));
        assert!(stalls.standing().places.is_empty());
    }
}
