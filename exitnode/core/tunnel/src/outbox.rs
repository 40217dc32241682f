//! What waits to be sent on a link's control stream: a bounded queue with one reader.
//!
//! tokio's channels set room for 32 messages aside (1.5 kB) where an idle link has none. Owned by link.rs.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::limits::FRAMES_TO_SEND;

#[derive(Debug)]
pub(crate) struct Outbox<T> {
    queue: Mutex<VecDeque<T>>,
    filled: Notify,
}

impl<T> Outbox<T> {
    pub(crate) fn new() -> Self {
        Self {
            queue: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// False: it is full, and the item is dropped.
    pub(crate) fn put(&self, item: T) -> bool {
        let mut queue = self.queue();
        if queue.len() >= FRAMES_TO_SEND {
            return false;
        }
        queue.push_back(item);
        drop(queue);
        self.filled.notify_one();
        true
    }

    /// The oldest, once there is one. For one reader. Cancel safe.
    pub(crate) async fn take(&self) -> T {
        loop {
            if let Some(item) = self.queue().pop_front() {
                return item;
            }
            self.filled.notified().await;
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_gives_in_order_and_waits_while_it_is_empty() {
        let outbox = Outbox::new();
        assert!(outbox.put(1) && outbox.put(2));
        assert_eq!((outbox.take().await, outbox.take().await), (1, 2));
        assert!(timeout(Duration::from_secs(60), outbox.take()).await.is_err());
        let (taken, put) = tokio::join!(outbox.take(), async { outbox.put(3) });
        assert_eq!((taken, put), (3, true));
    }

    #[tokio::test]
    async fn one_more_than_fits_is_refused_and_there_is_room_again_for_each_that_is_taken() {
        let outbox = Outbox::new();
        assert!((0..FRAMES_TO_SEND).all(|number| outbox.put(number)));
        assert!(!outbox.put(FRAMES_TO_SEND));
        assert_eq!(outbox.take().await, 0);
        assert!(outbox.put(FRAMES_TO_SEND) && !outbox.put(0));
    }
}
