//! The waker of a connection that is driven by whoever waits for something of it.
//!
//! hyper's parts of a connection wake each other: the sender of a request its connection, that the receiver of the answer. All
//! of them run in one poll, so that these wake-ups have no one to wake. Passed on, they would have the visitor's task polled
//! twice as often, and with it that of the last visitor on the same connection.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

/// See the module. The parts are polled with this as their waker; it knows who waits for them.
#[derive(Debug, Default)]
pub(super) struct Nudge(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// Nobody waits: whoever comes next looks for itself.
    #[default]
    Idle,
    /// The parts are being polled; true: one of them wants to be polled again.
    Polling(bool),
    Waiting(Waker),
}

impl Nudge {
    /// Polls the parts on behalf of the caller's task.
    pub(super) fn poll<T>(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        parts: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        *self.state() = State::Polling(false);
        let polled = parts(&mut Context::from_waker(&Waker::from(self.clone())));
        let mut state = self.state();
        *state = match (&polled, &*state) {
            (Poll::Ready(_), _) => State::Idle,
            (Poll::Pending, State::Polling(false)) => State::Waiting(cx.waker().clone()),
            (Poll::Pending, _) => {
                cx.waker().wake_by_ref();
                State::Idle
            }
        };
        polled
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.state();
        let next = match &*state {
            State::Polling(_) => State::Polling(true),
            State::Idle | State::Waiting(_) => State::Idle,
        };
        let last = std::mem::replace(&mut *state, next);
        drop(state);
        if let State::Waiting(task) = last {
            task.wake();
        }
    }
}

#[cfg(test)]
#[path = "tests/nudge.rs"]
mod tests;
