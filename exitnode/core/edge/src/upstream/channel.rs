//! One HTTP/1.1 connection to an app, driven by whoever waits for something of it: a request costs no task and no wake-up.
//!
//! Only what has to go on while nobody waits gets a task: a request's body behind the head of its answer (a visitor may read
//! nothing until it has sent all), and an upgrade. An idle connection is driven by nobody: that the app has closed it is seen
//! when it is used again, where hyper gives the request back unsent, or when the pool looks through its own.

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{Builder, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use tokio::{sync::oneshot, time::timeout};

use super::{
    nudge::Nudge,
    stream::{Fate, Tracked},
};
use crate::{
    body::Body,
    dial::{AppStream, Path},
    limits,
    patience::Stalling,
    stalls::Stalls,
    tasks::Tasks,
};

/// See the module. Dropping it resets its stream; see [`Channel::retire`] for the other way.
#[derive(Debug)]
pub(crate) struct Channel {
    sender: SendRequest<Body>,
    driver: Driver,
    path: Arc<dyn Path>,
    pub(super) fate: Arc<Fate>,
}

type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Who moves the bytes of a connection.
enum Driver {
    /// Whoever waits.
    Inline(Connection, Arc<Nudge>),
    /// A task: dropping this cuts it off, sending lets it end in order.
    Task(oneshot::Sender<()>),
    /// Nobody: it is over. How it ended is told by the exchange and by the stream's fate.
    Over,
}

impl Channel {
    /// HTTP/1.1 on a new stream; sends nothing yet. `uploads`: the requests whose bodies apps don't read; one that is cut off
    /// ends its connection. Cancel safe: the stream is reset.
    pub(super) async fn open(stream: impl AppStream, uploads: &Stalls) -> hyper::Result<Self> {
        let (fate, path) = (Arc::new(Fate::default()), stream.path());
        let io = TokioIo::new(Tracked::new(stream, fate.clone()));
        let (sender, connection) = Builder::new()
            .max_headers(limits::APP_HEADERS)
            .max_buf_size(limits::APP_BUFFER_BYTES)
            .handshake(io)
            .await?;
        let (connection, told) = (Stalling::new(connection.with_upgrades(), uploads), fate.clone());
        let driven = async move {
            connection.await.unwrap_or_else(|| {
                told.give_up();
                Ok(())
            })
        };
        let driver = Driver::Inline(Box::pin(driven), Arc::default());
        Ok(Self {
            sender,
            driver,
            path,
            fate,
        })
    }

    /// Sends a request and waits for the head of its answer. Not cancel safe: what was sent of it stays sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        self.fate.expect_answer();
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| self.driver.poll_for(cx, |cx| answer.as_mut().poll(cx))).await
    }

    /// Polls for something that this connection gives, and drives it for that.
    pub(super) fn poll_for<T>(
        &mut self,
        cx: &mut Context<'_>,
        wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.driver.poll_for(cx, wanted)
    }

    /// Gives it a task of its own from now on.
    pub(super) fn detach(&mut self, tasks: &Tasks) {
        if !matches!(self.driver, Driver::Inline(..)) {
            return;
        }
        let (alive, ended) = oneshot::channel();
        let Driver::Inline(mut connection, _) = std::mem::replace(&mut self.driver, Driver::Task(alive)) else {
            return;
        };
        tasks.spawn(async move {
            tokio::select! {
                _ = connection.as_mut() => {}
                order = ended => if order.is_ok() {
                    let _ = timeout(limits::POOL_GOODBYE, connection).await;
                }
            }
        });
    }

    /// Resolves when another request may be sent; false: it is over. Cancel safe.
    pub(super) async fn ready(&mut self) -> bool {
        match self.driver {
            // If the app has closed it, sending says so and gives the request back.
            Driver::Inline(..) => true,
            Driver::Task(_) => matches!(
                timeout(limits::POOL_READY_TIMEOUT, self.sender.ready()).await,
                Ok(Ok(()))
            ),
            Driver::Over => false,
        }
    }

    /// It can take another request, as far as is known without a look at it, and should.
    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed() && self.path.is_current()
    }

    /// The same, and its last exchange is over.
    pub(super) fn is_reusable(&self) -> bool {
        self.is_usable() && (self.sender.is_ready() || matches!(self.driver, Driver::Task(_)))
    }

    /// Looks whether the app has closed an idle connection; else as [`Channel::is_usable`].
    pub(super) fn is_open(&mut self) -> bool {
        let _ = self.poll_for(&mut Context::from_waker(Waker::noop()), |_| Poll::<()>::Pending);
        self.is_usable()
    }

    /// Ends an idle connection in order: apps log a reset as an error.
    pub(super) fn retire(self) {
        let Self { sender, driver, .. } = self;
        drop(sender);
        match driver {
            // Without a sender there is nothing left to do for it but to end, which one look does.
            Driver::Inline(mut connection, _) => {
                let _ = connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
            Driver::Task(alive) => drop(alive.send(())),
            Driver::Over => {}
        }
    }
}

impl Driver {
    fn poll_for<T>(&mut self, cx: &mut Context<'_>, mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let Self::Inline(connection, nudge) = self else {
            return wanted(cx);
        };
        let mut over = false;
        let polled = nudge.poll(cx, |cx| {
            if let Poll::Ready(there) = wanted(cx) {
                return Poll::Ready(there);
            }
            over = connection.as_mut().poll(cx).is_ready();
            wanted(cx)
        });
        if over {
            // Dropped, it gives a request back that it had not begun to send, which wakes whoever waits for the answer.
            *self = Self::Over;
        }
        polled
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inline(..) => "Inline",
            Self::Task(_) => "Task",
            Self::Over => "Over",
        })
    }
}

#[cfg(test)]
#[path = "tests/channel.rs"]
mod tests;
