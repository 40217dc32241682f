//! Owner of every task that one listener starts: connections, HTTP/2 streams, connections to apps, WebSockets.
//!
//! Finished tasks are forgotten with the next spawn, so the set is as large as what runs. Stopped as a whole, at the end.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::JoinSet;

/// A shared set of tasks. Dropping it stops nothing while a task holds a clone: the listener calls [`Tasks::stop`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    /// Starts `task`; it runs until it ends or the set is stopped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while set.try_join_next().is_some() {}
        set.spawn(task);
    }

    /// Cuts every task off where it stands.
    pub(crate) fn stop(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// Stops the tasks when the owner ends, also when it is dropped in the middle.
pub(crate) struct StopOnDrop(pub(crate) Tasks);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
