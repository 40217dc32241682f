//! Exchanges with apps that speak HTTP/1.1: pooled connections, one safe repetition, answers streamed as they come.
//!
//! A connection is owned by whoever uses it. Dropping it in the middle (the visitor left, a fault) resets its stream; only a
//! connection with a whole exchange behind it goes back to the pool.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hawse_proto::codes::{self, Code};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    About, Upstream,
    blame::{self, Said},
    channel::Channel,
    head::{self, Told, Towards},
    pool::Pool,
    sending::{self, Sent},
    stream::Fate,
};
use crate::{
    body::{self, Body, BoxError},
    dial::Dialer,
    endpoint::Side,
    fault::{BodyFault, Fault},
    layers::Outcome,
    visit::Routed,
};

/// An answer's head, and what is needed to give its connection back.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    channel: Channel,
    sent: Arc<Sent>,
    /// An app that sends a body for HEAD all the same would have it read as the next visitor's answer.
    reusable: bool,
}

impl Answer {
    /// The answer for the visitor; the connection goes back to `pool` when its body has ended.
    pub(super) fn into_response(self, pool: Arc<Pool>) -> Response<Body> {
        let Self {
            response,
            channel,
            sent,
            reusable,
        } = self;
        let (mut head, inner) = response.into_parts();
        head::response(&mut head);
        if !reusable {
            channel.retire();
            return Response::from_parts(head, body::empty());
        }
        let fate = channel.fate.clone();
        let mut body = AppBody {
            inner,
            fate,
            hold: Some(Hold { channel, sent, pool }),
            failed: None,
        };
        if body.inner.is_end_stream() {
            body.give_back();
            return Response::from_parts(head, body::empty());
        }
        Response::from_parts(head, body.boxed_unsync())
    }

    /// The connection itself, after the app switched protocols: it has to live until the upgrade is taken over.
    pub(super) fn into_channel(self) -> Channel {
        self.channel
    }
}

/// Serves one request. Not cancel safe: dropping it resets the stream to the app, as it should.
pub(super) async fn serve<D: Dialer>(up: &Upstream<D>, routed: Routed, side: Side) -> Outcome {
    let (about, request) = prepare(routed, side, Towards::Http1)?;
    let answer = exchange(up, &about, request).await?;
    if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Fault::new(
            &codes::APP_INVALID,
            "It switched protocols although nobody asked for it.",
        ));
    }
    Ok(answer.into_response(about.endpoint.pool.clone()))
}

/// Rewrites the request for the app of this side.
pub(super) fn prepare(routed: Routed, side: Side, towards: Towards) -> Result<(About, Request<Body>), Fault> {
    let Routed {
        connection,
        request_id,
        authority,
        tunnel,
        identity,
        request,
        ticket: _,
    } = routed;
    let (mut head, body) = request.into_parts();
    let endpoint = tunnel.endpoint(side).clone();
    let told = Told {
        forwarded_for: connection.forwarded_for(&head.headers),
        authority: &authority.text,
        host: endpoint.host.as_deref(),
        tls: endpoint.is_tls(),
        request_id: &request_id,
        identity: identity.as_deref(),
    };
    head::request(&mut head, towards, told)?;
    let visitor = connection.peer;
    Ok((About { visitor, endpoint }, Request::from_parts(head, body)))
}

/// Sends a request and waits for the head of the answer. Not cancel safe: dropping it resets the stream, as it should.
pub(super) async fn exchange<D: Dialer>(
    up: &Upstream<D>,
    about: &About,
    request: Request<Body>,
) -> Result<Answer, Fault> {
    let may_repeat = request.method().is_idempotent() && request.is_end_stream();
    let reusable = request.method() != Method::HEAD;
    let (head, body) = request.into_parts();
    let (body, sent) = sending::watch(body);
    let mut request = Request::from_parts(head, body);
    let mut pool = Some(about.endpoint.pool.clone());
    loop {
        let (mut channel, reused) = connect(up, about, pool.take(), may_repeat).await?;
        let copy = (reused && may_repeat).then(|| copy_of(&request));
        let mut failed = match channel.send(request).await {
            Ok(response) => {
                if response.status() == StatusCode::SWITCHING_PROTOCOLS || !sent.is_whole() {
                    channel.detach(&up.tasks);
                }
                return Ok(Answer {
                    response,
                    channel,
                    sent,
                    reusable,
                });
            }
            Err(failed) => failed,
        };
        // Nothing was sent; or the app closed an idle connection at the moment of a request that may be repeated.
        let unsent = failed.take_message();
        let fault = || blame::no_answer(Said::from(failed.error()), &channel.fate, &sent);
        match (unsent, copy) {
            (Some(unsent), _) if reused => request = unsent,
            (Some(_), _) => return Err(fault().before_sending()),
            (None, Some(same)) if !channel.fate.has_received() => request = same,
            (None, _) => return Err(fault()),
        }
    }
}

/// A connection from the pool (true) or a new one. Cancel safe.
async fn connect<D: Dialer>(
    up: &Upstream<D>,
    about: &About,
    pool: Option<Arc<Pool>>,
    may_repeat: bool,
) -> Result<(Channel, bool), Fault> {
    if let Some(pool) = pool {
        while let Some(mut channel) = pool.take(Instant::now(), may_repeat) {
            if channel.ready().await {
                return Ok((channel, true));
            }
        }
    }
    Ok((open(up, about).await?, false))
}

async fn open<D: Dialer>(up: &Upstream<D>, about: &About) -> Result<Channel, Fault> {
    let stream = up.dial(&about.endpoint, about.visitor).await?;
    let unusable = |error| Fault::agent_lost(format!("The connection to it could not be used: {error}."));
    Channel::open(stream, &up.uploads).await.map_err(unusable)
}

/// Another request like this one, which has no body.
fn copy_of(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(body::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    *copy.version_mut() = request.version();
    copy
}

/// A connection that is still reading an answer.
struct Hold {
    channel: Channel,
    sent: Arc<Sent>,
    pool: Arc<Pool>,
}

/// An answer's body. Ends cleanly only where the app ended it.
struct AppBody {
    inner: Incoming,
    fate: Arc<Fate>,
    hold: Option<Hold>,
    failed: Option<&'static Code>,
}

impl AppBody {
    fn give_back(&mut self) {
        if let Some(Hold { channel, sent, pool }) = self.hold.take()
            // An answer before the end of the request: the rest of its body is still under way on this connection.
            && sent.is_whole()
        {
            pool.put(Instant::now(), channel);
        }
    }
}

impl http_body::Body for AppBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        if let Some(code) = me.failed {
            return Poll::Ready(Some(Err(BodyFault(code).into())));
        }
        let inner = &mut me.inner;
        let frame = match &mut me.hold {
            Some(hold) => hold.channel.poll_for(cx, |cx| Pin::new(&mut *inner).poll_frame(cx)),
            None => Pin::new(inner).poll_frame(cx),
        };
        match ready!(frame) {
            Some(Ok(frame)) => {
                if me.inner.is_end_stream() {
                    me.give_back();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => {
                me.hold = None;
                me.failed = Some(blame::cut_off(&me.fate));
                // Told when asked again: what came before it is then on its way to the visitor, and hyper does not discard it.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                me.give_back();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
