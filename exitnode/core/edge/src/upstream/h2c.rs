//! Exchanges with apps that speak HTTP/2 without TLS (`appProtocol: H2C`, gRPC): one connection a tunnel, many streams in it.
//!
//! hyper resets a stream when its answer is dropped, so a visitor that leaves costs the others nothing.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::oneshot, time::Instant};

use super::{
    About, Upstream,
    blame::{self, Said},
    head::{self, Towards},
    http1, sending,
    stream::{Fate, Tracked},
};
use crate::{
    body::{Body, BoxError},
    dial::{AppStream, Dialer, Path},
    endpoint::Side,
    fault::{BodyFault, Fault},
    layers::Outcome,
    limits,
    tasks::Tasks,
    visit::Routed,
};

/// The tunnel's connection; a clone for each request and answer that uses it.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    sender: SendRequest<Body>,
    fate: Arc<Fate>,
    path: Arc<dyn Path>,
    /// The connection lives while a clone does.
    alive: Arc<oneshot::Sender<Infallible>>,
    used: Instant,
}

impl Channel {
    /// It can take another request, and should.
    fn is_usable(&self) -> bool {
        !self.sender.is_closed() && self.path.is_current()
    }

    /// The pool need not keep it: nobody has used it for a while, or nobody should any more. Who does goes on.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        !self.is_usable() || self.is_idle(now)
    }

    fn is_idle(&self, now: Instant) -> bool {
        Arc::strong_count(&self.alive) == 1 && now.saturating_duration_since(self.used) > limits::POOL_IDLE_TIMEOUT
    }
}

/// Serves one request. Not cancel safe: dropping it resets the stream to the app, as it should.
pub(super) async fn serve<D: Dialer>(up: &Upstream<D>, routed: Routed, side: Side) -> Outcome {
    let (about, request) = http1::prepare(routed, side, Towards::H2c)?;
    exchange(up, &about, request).await
}

/// Sends a request and waits for the head of the answer. Not cancel safe: dropping it resets the stream, as it should.
pub(super) async fn exchange<D: Dialer>(up: &Upstream<D>, about: &About, request: Request<Body>) -> Outcome {
    let (head, body) = request.into_parts();
    let (body, sent) = sending::watch(body);
    let mut request = Request::from_parts(head, body);
    loop {
        let (mut channel, reused) = connect(up, about).await?;
        let mut failed = match channel.sender.try_send_request(request).await {
            Ok(response) => return Ok(answer(response, channel)),
            Err(failed) => failed,
        };
        match failed.take_message() {
            // The app had closed the connection in the meantime; nothing was sent.
            Some(unsent) if reused => {
                request = unsent;
                forget(about, &channel).await;
            }
            Some(_) => {
                let fault = blame::no_answer(Said::from(failed.error()), &channel.fate, &sent);
                return Err(fault.before_sending());
            }
            None => return Err(blame::no_answer(Said::from(failed.error()), &channel.fate, &sent)),
        }
    }
}

/// The tunnel's connection (true: it was there before). Cancel safe.
async fn connect<D: Dialer>(up: &Upstream<D>, about: &About) -> Result<(Channel, bool), Fault> {
    let mut slot = about.endpoint.pool.h2c.lock().await;
    if let Some(channel) = slot.as_mut()
        && channel.is_usable()
    {
        channel.used = Instant::now();
        return Ok((channel.clone(), true));
    }
    let channel = open(up, about).await?;
    if !about.endpoint.pool.is_closed() {
        *slot = Some(channel.clone());
    }
    Ok((channel, false))
}

/// Drops a connection from the pool, unless it has a successor already.
async fn forget(about: &About, channel: &Channel) {
    let mut slot = about.endpoint.pool.h2c.lock().await;
    if slot
        .as_ref()
        .is_some_and(|held| Arc::ptr_eq(&held.alive, &channel.alive))
    {
        *slot = None;
    }
}

async fn open<D: Dialer>(up: &Upstream<D>, about: &About) -> Result<Channel, Fault> {
    let stream = up.dial(&about.endpoint, about.visitor).await?;
    let (fate, path) = (Arc::new(Fate::default()), stream.path());
    let io = TokioIo::new(Tracked::new(stream, fate.clone()));
    let (sender, connection) = Builder::new(Spawner(up.tasks.clone()))
        .timer(TokioTimer::new())
        .initial_stream_window_size(limits::H2C_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::H2C_CONNECTION_WINDOW_BYTES)
        .max_header_list_size(limits::APP_HEAD_LIST_BYTES)
        .handshake(io)
        .await
        .map_err(|error| Fault::agent_lost(format!("The connection to it could not be used: {error}.")))?;
    let (alive, dropped) = oneshot::channel::<Infallible>();
    up.tasks.spawn(async move {
        tokio::select! {
            _ = connection => {}
            _ = dropped => {}
        }
    });
    Ok(Channel {
        sender,
        fate,
        path,
        alive: Arc::new(alive),
        used: Instant::now(),
    })
}

fn answer(response: Response<Incoming>, channel: Channel) -> Response<Body> {
    let (mut head, inner) = response.into_parts();
    head::response(&mut head);
    Response::from_parts(head, AppBody { inner, channel }.boxed_unsync())
}

/// An answer's body; keeps the connection.
struct AppBody {
    inner: Incoming,
    channel: Channel,
}

impl http_body::Body for AppBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        let frame = ready!(Pin::new(&mut me.inner).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(|_| BodyFault(blame::cut_off(&me.channel.fate)).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Runs hyper's helpers of a connection among the listener's tasks.
#[derive(Clone)]
struct Spawner(Tasks);

impl<F> Executor<F> for Spawner
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(async move {
            future.await;
        });
    }
}
