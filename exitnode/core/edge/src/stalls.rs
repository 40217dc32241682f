//! How many answers may wait for visitors who take nothing. Past it the one that has waited longest is cut off: whoever has
//! stopped for minutes makes room for whoever has just begun to.
//!
//! An answer that waits holds buffers all the way to the app, about 1.5 MB (measured), so this is what bounds an exit node's
//! memory under visitors who stop reading; the patience with a single one is patience.rs's.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::{sync::oneshot, time::Instant};

use crate::limits;

/// The answers that wait now. Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Stalls(Arc<Mutex<Waiting>>);

#[derive(Debug)]
struct Waiting {
    most: usize,
    numbers: u64,
    /// By number, so the longest waiting first. A sender that is used or dropped cuts its answer off.
    answers: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Default for Stalls {
    fn default() -> Self {
        Self::new(limits::STALLED_READERS)
    }
}

impl Stalls {
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Waiting {
            most,
            numbers: 0,
            answers: BTreeMap::new(),
        })))
    }

    /// One more waits, since that time.
    pub(crate) fn enter(&self, since: Instant) -> Stalled {
        let (sender, cut) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.numbers += 1;
        let number = waiting.numbers;
        waiting.answers.insert(number, sender);
        if waiting.answers.len() > waiting.most {
            waiting.answers.pop_first();
        }
        Stalled {
            since,
            cut,
            number,
            stalls: self.clone(),
        }
    }

    /// There is too little memory for all of them: a quarter, the longest waiting, is cut off.
    pub(crate) fn relieve(&self) {
        let mut waiting = self.waiting();
        for _ in 0..waiting.answers.len().div_ceil(4) {
            waiting.answers.pop_first();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One answer that waits; forgotten when it is dropped.
pub(crate) struct Stalled {
    /// When the wait began that this stands for.
    pub(crate) since: Instant,
    cut: oneshot::Receiver<()>,
    number: u64,
    stalls: Stalls,
}

impl Stalled {
    /// Ready when it has to make room.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.cut).poll(cx).map(|_| ())
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.stalls.waiting().answers.remove(&self.number);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{future::poll_fn, task::Waker};

    use super::*;

    /// It has to make room, and was not asked before.
    pub(crate) fn is_cut_now(stalled: &mut Stalled) -> bool {
        stalled.poll_cut(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    async fn is_cut(stalled: &mut Stalled) -> bool {
        poll_fn(|cx| Poll::Ready(stalled.poll_cut(cx).is_ready())).await
    }

    #[tokio::test]
    async fn the_longest_waiting_makes_room_and_who_goes_on_leaves_its_place() {
        let stalls = Stalls::new(2);
        let [mut one, mut two] = [stalls.enter(Instant::now()), stalls.enter(Instant::now())];
        assert!(!is_cut(&mut one).await && !is_cut(&mut two).await);
        let mut three = stalls.enter(Instant::now());
        assert!(is_cut(&mut one).await && !is_cut(&mut two).await && !is_cut(&mut three).await);
        drop(one);
        drop(two);
        let mut four = stalls.enter(Instant::now());
        assert!(!is_cut(&mut three).await && !is_cut(&mut four).await);
        drop((three, four));
        assert!(stalls.waiting().answers.is_empty());
    }
}
