//! Events from the runtime's thread to the one asyncio thread: a queue and a wake-up byte.
//!
//! The runtime never waits for the interpreter. Producers push; when the queue was empty they write one byte to a socket
//! pair whose read end asyncio watches with `add_reader` (a socket pair and not an eventfd, because the agent also runs on
//! macOS). Python then takes the whole batch with one call.
//!
//! Bounded also if Python never comes: frames by credits of their link and by bytes in all (past it the link is closed and
//! the drop counted); of a link that came and went meanwhile nothing is kept once the queue is long. Answers to commands
//! are as many as Python's own commands. Called by node.rs (in) and python.rs (out).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of frames that may wait for Python, over all links. Past it: the link whose frame it was is closed.
pub const FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Events from which on links that came and went unseen are dropped from the queue.
pub const LONG_QUEUE: usize = 4096;

/// What happened. Owned and small: it crosses the border by value.
#[derive(Debug)]
pub enum Event {
    /// A command with this ticket is finished; the text is its error, or empty.
    Done(u64, String),
    /// A serialised `core::LinkUp`.
    LinkUp(u64, Vec<u8>),
    /// A serialised `frames::Frame`, with the link's credit for it.
    Frame(u64, Bytes, OwnedSemaphorePermit),
    /// A serialised `core::LinkDown`.
    LinkDown(u64, Vec<u8>),
    /// A serialised `core::Targets`; the newest says everything.
    Targets(Vec<u8>),
    /// A long-lived task died; the text names it.
    Failed(String),
}

/// Many producers, one consumer.
#[derive(Debug)]
pub struct EventQueue {
    waiting: Mutex<Waiting>,
    dropped: AtomicU64,
    wake_tx: UnixStream,
    wake_rx: UnixStream,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    frame_bytes: usize,
}

impl EventQueue {
    /// An empty queue.
    ///
    /// # Errors
    /// The process is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        let (wake_tx, wake_rx) = UnixStream::pair()?;
        wake_tx.set_nonblocking(true)?;
        wake_rx.set_nonblocking(true)?;
        Ok(Self {
            waiting: Mutex::default(),
            dropped: AtomicU64::new(0),
            wake_tx,
            wake_rx,
        })
    }

    /// The descriptor that is readable while there is something to drain.
    pub fn fd(&self) -> RawFd {
        self.wake_rx.as_raw_fd()
    }

    /// Events that were dropped because Python did not come.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Adds an event that is not a frame.
    pub fn push(&self, event: Event) {
        let mut waiting = self.lock();
        if let Event::LinkDown(link, _) = event
            && waiting.events.len() >= LONG_QUEUE
            && waiting.forget(link)
        {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        if matches!(event, Event::Targets(_)) {
            waiting.events.retain(|event| !matches!(event, Event::Targets(_)));
        }
        self.add(waiting, event);
    }

    /// Adds a frame; false: there is no room, and its link has to be closed.
    pub fn push_frame(&self, link: u64, frame: Bytes, credit: OwnedSemaphorePermit) -> bool {
        let mut waiting = self.lock();
        if waiting.frame_bytes + frame.len() > FRAME_BYTES {
            self.dropped.fetch_add(1, Relaxed);
            return false;
        }
        waiting.frame_bytes += frame.len();
        self.add(waiting, Event::Frame(link, frame, credit));
        true
    }

    /// Takes everything that waits.
    pub fn drain(&self) -> VecDeque<Event> {
        // Before the events are taken: a byte written after that belongs to an event of the next batch.
        let mut sink = [0u8; 64];
        while matches!((&self.wake_rx).read(&mut sink), Ok(n) if n == sink.len()) {}
        std::mem::take(&mut *self.lock()).events
    }

    fn add(&self, mut waiting: MutexGuard<'_, Waiting>, event: Event) {
        let was_empty = waiting.events.is_empty();
        waiting.events.push_back(event);
        drop(waiting);
        if was_empty {
            let _ = (&self.wake_tx).write(&[1]); // a full buffer: a wake-up is on its way already
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Drops what waits of a link that Python has not seen yet; false if Python knows the link.
    fn forget(&mut self, link: u64) -> bool {
        if !self
            .events
            .iter()
            .any(|event| matches!(event, Event::LinkUp(id, _) if *id == link))
        {
            return false;
        }
        let mut freed = 0;
        self.events.retain(|event| match event {
            Event::Frame(id, frame, _) if *id == link => {
                freed += frame.len();
                false
            }
            Event::LinkUp(id, _) => *id != link,
            _ => true,
        });
        self.frame_bytes -= freed;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    fn credit() -> OwnedSemaphorePermit {
        Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    fn kinds(queue: &EventQueue) -> Vec<(&'static str, u64)> {
        queue
            .drain()
            .iter()
            .map(|event| match event {
                Event::Done(id, _) => ("done", *id),
                Event::LinkUp(id, _) => ("up", *id),
                Event::Frame(id, ..) => ("frame", *id),
                Event::LinkDown(id, _) => ("down", *id),
                Event::Targets(bytes) => ("targets", bytes.len() as u64),
                Event::Failed(_) => ("failed", 0),
            })
            .collect()
    }

    fn is_readable(queue: &EventQueue) -> bool {
        let mut byte = [0u8; 1];
        matches!((&queue.wake_rx).read(&mut byte), Ok(1))
    }

    #[test]
    fn drain_gives_everything_in_order_and_leaves_nothing() {
        let queue = EventQueue::new().unwrap();
        queue.push(Event::Done(1, String::new()));
        queue.push(Event::LinkUp(7, vec![]));
        assert!(queue.push_frame(7, Bytes::from_static(b"x"), credit()));
        assert_eq!(kinds(&queue), [("done", 1), ("up", 7), ("frame", 7)]);
        assert_eq!(kinds(&queue), []);
    }

    #[test]
    fn what_answers_is_told_once_however_often_it_turned() {
        let queue = EventQueue::new().unwrap();
        for length in 1..=1000 {
            queue.push(Event::Targets(vec![0; length]));
        }
        assert!(is_readable(&queue));
        assert_eq!(kinds(&queue), [("targets", 1000)]);
    }

    #[test]
    fn one_wake_up_stands_for_a_batch_and_the_next_batch_has_its_own() {
        let queue = EventQueue::new().unwrap();
        queue.push(Event::Done(1, String::new()));
        queue.push(Event::Done(2, String::new()));
        assert!(is_readable(&queue) && !is_readable(&queue));
        queue.drain();
        queue.push(Event::Done(3, String::new()));
        assert!(is_readable(&queue));
    }

    #[test]
    fn frames_over_the_bound_are_refused_and_counted_until_python_comes() {
        let queue = EventQueue::new().unwrap();
        let half = Bytes::from(vec![0; FRAME_BYTES / 2]);
        assert!(queue.push_frame(1, half.clone(), credit()) && queue.push_frame(1, half.clone(), credit()));
        assert!(!queue.push_frame(1, Bytes::from_static(b"x"), credit()));
        assert_eq!(queue.dropped(), 1);
        queue.drain();
        assert!(queue.push_frame(1, half, credit()));
    }

    #[test]
    fn a_link_that_came_and_went_unseen_leaves_a_long_queue() {
        let queue = EventQueue::new().unwrap();
        for ticket in 0..LONG_QUEUE as u64 {
            queue.push(Event::Done(ticket, String::new()));
        }
        queue.push(Event::LinkUp(7, vec![]));
        queue.push_frame(7, Bytes::from_static(b"x"), credit());
        queue.push(Event::LinkDown(7, vec![])); // came and went: nothing of it stays
        queue.push(Event::LinkDown(3, vec![])); // Python knows this one: it has to hear of its end
        assert_eq!(kinds(&queue)[LONG_QUEUE..], [("down", 3)]);
        assert_eq!(queue.dropped(), 1);
    }
}
