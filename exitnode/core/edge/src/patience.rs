//! Cuts off visitors that stop taking what is sent to them, or take a few bytes a minute of it: each holds windows all the way
//! to the app. What waits for the app (events, long polls) is not the visitor's delay.
//!
//! Whoever has the bytes knows whether the visitor or the app is waited for; the task that sends them knows the time. They meet
//! in a clock that is local to the task: one per stream of HTTP/2 and 3, per HTTP/1.1 connection, per WebSocket, per
//! connection of a TCP tunnel. Used by the front ends (reader.rs) and by both splices; how many may wait at once is stalls.rs's.
//! Towards apps it is the same the other way round: an app owes us that it reads a request's body (upstream/sending.rs).

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    limits,
    stalls::{Stalled, Stalls},
};

tokio::task_local! {
    static CLOCK: Clock;
}

/// How long a visitor may still be waited for, and since when it has been.
#[derive(Debug)]
struct Patience {
    /// Used up by waiting, earned by bytes that were taken, never more than `most`: a fast beginning buys nothing.
    left: Duration,
    most: Duration,
    /// What the sender was given last, and when; `None` while the app is waited for.
    owed: Option<(Instant, u64)>,
}

impl Patience {
    /// The visitor has taken what it owed.
    fn taken(&mut self, now: Instant) {
        if let Some((since, bytes)) = self.owed.take() {
            let earned = Duration::from_millis(bytes * 1000 / limits::READER_MIN_RATE);
            let left = self.left.saturating_sub(now.saturating_duration_since(since));
            self.left = left.saturating_add(earned).min(self.most);
        }
    }

    /// Since when the visitor has owed us a read, and until when it may.
    fn owed_until(&self) -> Option<(Instant, Instant)> {
        self.owed.map(|(since, _)| (since, since + self.left))
    }
}

/// A visitor's patience, shared between what is sent and the task that sends it.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Arc<Mutex<Patience>>);

impl Default for Clock {
    fn default() -> Self {
        Self::new(limits::READER_STALL)
    }
}

impl Clock {
    fn new(most: Duration) -> Self {
        Self(Arc::new(Mutex::new(Patience {
            left: most,
            most,
            owed: None,
        })))
    }

    /// That of the running task, if it sends to a visitor.
    pub(crate) fn of_task() -> Option<Self> {
        CLOCK.try_with(Clone::clone).ok()
    }

    /// [`Clock::owe`] of the running task's clock, if it has one.
    pub(crate) fn owe_of_task(bytes: Option<usize>) {
        let _ = CLOCK.try_with(|clock| clock.owe(bytes));
    }

    /// The visitor has taken all that was given before; from now on it owes these bytes. `None`: the app is waited for.
    pub(crate) fn owe(&self, bytes: Option<usize>) {
        let now = Instant::now();
        let mut patience = self.patience();
        patience.taken(now);
        patience.owed = bytes.map(|bytes| (now, bytes as u64));
    }

    fn patience(&self) -> MutexGuard<'_, Patience> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pin_project! {
    /// Runs a future that sends answers; ends it when a visitor has stopped reading. Dropping the future resets the stream.
    pub(crate) struct Stalling<F> {
        #[pin]
        inner: tokio::task::futures::TaskLocalFuture<Clock, F>,
        clock: Clock,
        alarm: Option<Pin<Box<Sleep>>>,
        stalls: Stalls,
        stalled: Option<Stalled>,
    }
}

impl<F: Future> Stalling<F> {
    pub(crate) fn new(inner: F, stalls: &Stalls) -> Self {
        Self::patient(inner, stalls, limits::READER_STALL)
    }

    /// The same with another time for which the visitor may take nothing.
    pub(crate) fn patient(inner: F, stalls: &Stalls, most: Duration) -> Self {
        let clock = Clock::new(most);
        Self {
            inner: CLOCK.scope(clock.clone(), inner),
            clock,
            alarm: None,
            stalls: stalls.clone(),
            stalled: None,
        }
    }
}

impl<F: Future> Future for Stalling<F> {
    /// `None`: cut off.
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        if let Poll::Ready(output) = me.inner.poll(cx) {
            return Poll::Ready(Some(output));
        }
        let owed = me.clock.patience().owed_until();
        me.stalled
            .take_if(|stalled| owed.is_none_or(|(since, _)| since != stalled.since));
        let Some((since, over)) = owed else {
            return Poll::Pending;
        };
        loop {
            if me
                .stalled
                .as_mut()
                .is_some_and(|stalled| stalled.poll_cut(cx).is_ready())
            {
                return Poll::Ready(None);
            }
            let due = match me.stalled {
                Some(_) => over,
                // Most readers are back at once: only those who are not cost a lock.
                None => over.min(since + limits::READER_NOTICED),
            };
            let alarm = me.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            ready!(alarm.as_mut().poll(cx));
            if due == over {
                return Poll::Ready(None);
            }
            *me.stalled = Some(me.stalls.enter(since));
        }
    }
}
