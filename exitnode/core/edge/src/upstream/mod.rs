//! The bottom of the stack: takes a routed request to the app over a stream of its tunnel, and the answer back.
//!
//! One file a concern: head (what is rewritten), stream (what became of a connection), blame (whose fault), pool, channel
//! and nudge (a connection and who drives it), http1, h2c, websocket, splice; of tunnels with a standby: failover (which target),
//! tape (bodies that can be read twice), checks. Holds no tunnel and opens no link: streams come
//! from the Dialer.

mod blame;
mod channel;
mod checks;
mod failover;
mod h2c;
mod head;
mod http1;
mod nudge;
mod pool;
mod sending;
mod splice;
mod stream;
mod tape;
mod websocket;

use std::{
    future::ready,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hawse_proto::codes;
use http::{Response, header};
use tokio::time::timeout;
use tower::Service;

pub(crate) use self::{checks::Checks, pool::Pool};
use crate::{
    body::Body,
    dial::{DialError, Dialer},
    direct::{Direct, Stream},
    endpoint::{AppProtocol, Endpoint, Side, Way},
    fault::Fault,
    layers::{Boxed, Outcome},
    limits::{self, Limits},
    shared::Shared,
    stalls::Stalls,
    tasks::Tasks,
    visit::{Protocol, Routed},
};

/// See the module. Cheap to clone; one per listener.
#[derive(Clone)]
pub(crate) struct Upstream<D> {
    dialer: D,
    direct: Direct,
    tasks: Tasks,
    stalls: Stalls,
    uploads: Stalls,
    tapes: tape::Budget,
    /// Of WebSockets, if the tunnel has no own.
    idle: Duration,
    random: &'static dyn rustls::crypto::SecureRandom,
}

impl<D: Dialer> Upstream<D> {
    pub(crate) fn new(dialer: D, tasks: Tasks, shared: &Shared, limits: &Limits) -> Self {
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        Self {
            dialer,
            direct: shared.direct.clone(),
            tasks,
            stalls: shared.stalls.clone(),
            uploads: shared.uploads.clone(),
            tapes: tape::Budget::default(),
            idle: limits.idle_timeout,
            random,
        }
    }

    /// Takes a request to one of its tunnel's targets. Not cancel safe: dropping it resets the stream, as it should.
    fn attempt(&self, routed: Routed, side: Side) -> Boxed<Outcome> {
        let this = self.clone();
        if asks_for_websocket(&routed) {
            return Box::pin(async move { websocket::serve(&this, routed, side).await });
        }
        match routed.tunnel.endpoint(side).app_protocol {
            AppProtocol::Http1 => Box::pin(async move { http1::serve(&this, routed, side).await }),
            AppProtocol::H2c => Box::pin(async move { h2c::serve(&this, routed, side).await }),
            // No host name leads to such a tunnel (route.rs).
            AppProtocol::Tcp => Box::pin(ready(Err(Fault::new(&codes::NO_SUCH_TUNNEL, "")))),
        }
    }

    /// Opens a connection to the app on behalf of `visitor`. Cancel safe.
    pub(crate) async fn dial(&self, endpoint: &Endpoint, visitor: SocketAddr) -> Result<Stream<D::Stream>, Fault> {
        let opened = match &endpoint.way {
            Way::Agent(uid) => timeout(limits::DIAL_TIMEOUT, self.dial_agent(uid, visitor)).await,
            Way::Direct(site) => timeout(limits::DIAL_TIMEOUT, self.direct.open(site, endpoint.app_protocol)).await,
        };
        opened.unwrap_or_else(|_| {
            let why = format!("There was no connection within {:?}.", limits::DIAL_TIMEOUT);
            Err(Fault::agent_lost(why).before_sending())
        })
    }

    async fn dial_agent(&self, uid: &str, visitor: SocketAddr) -> Result<Stream<D::Stream>, Fault> {
        match self.dialer.open(uid, visitor).await {
            Ok(stream) => Ok(Stream::Agent(stream)),
            Err(DialError::NoAgent) => Err(no_agent(self.dialer.last_seen(uid)).before_sending()),
            Err(DialError::LinkLost(how)) => Err(Fault::agent_lost(how).before_sending()),
            Err(DialError::ConfigurationTooOld(why)) => Err(Fault::new(&codes::CONFIGURATION_TOO_OLD, why)
                .retry_after(limits::STALE_RETRY)
                .before_sending()),
        }
    }
}

impl<D: Dialer> Service<Routed> for Upstream<D> {
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Boxed<Outcome>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        if routed.tunnel.standby.is_none() {
            return self.attempt(routed, Side::Primary);
        }
        let this = self.clone();
        Box::pin(async move {
            let tunnel = routed.tunnel.clone();
            match &tunnel.standby {
                Some(standby) => failover::serve(&this, standby, routed).await,
                None => this.attempt(routed, Side::Primary).await,
            }
        })
    }
}

/// By Upgrade on HTTP/1.1, by extended CONNECT on HTTP/2 (the only CONNECT that the strict layer lets through).
fn asks_for_websocket(routed: &Routed) -> bool {
    match routed.connection.protocol {
        // Over HTTP/3 the strict layer lets no CONNECT through.
        Protocol::Http3 => false,
        Protocol::Http2 => routed.request.method() == http::Method::CONNECT,
        Protocol::Http1 => {
            let headers = routed.request.headers();
            routed.request.version() == http::Version::HTTP_11
                && headers
                    .get(header::UPGRADE)
                    .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
                && head::connection_names(headers).any(|name| name.eq_ignore_ascii_case("upgrade"))
        }
    }
}

fn no_agent(last_seen: Option<Duration>) -> Fault {
    // An agent that was here a moment ago is most likely coming back.
    const RECENT: Duration = Duration::from_secs(60);
    let (detail, retry) = match last_seen {
        Some(ago) => (
            format!("Last seen {} ago.", in_words(ago)),
            if ago < RECENT { 5 } else { 30 },
        ),
        None => (
            "None has been connected since this exit node started. Run `hawse http` beside the app.".into(),
            30,
        ),
    };
    Fault::new(&codes::NO_AGENT, detail).retry_after(Duration::from_secs(retry))
}

/// `14 min`, `3 h`, `2 d`: the largest unit is enough for a person.
fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Everything the files below need of a routed request besides the request itself.
struct About {
    /// On whose behalf connections are opened.
    visitor: SocketAddr,
    endpoint: Arc<Endpoint>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_when_the_agent_was_last_seen_and_when_to_try_again() {
        for (ago, says, retry) in [
            (Some(12), "Last seen 12 s ago.", 5),
            (Some(14 * 60 + 3), "Last seen 14 min ago.", 30),
            (Some(3 * 3600), "Last seen 3 h ago.", 30),
            (Some(49 * 3600), "Last seen 2 d ago.", 30),
            (None, "None has been connected", 30),
        ] {
            let fault = no_agent(ago.map(Duration::from_secs));
            assert!(fault.detail.starts_with(says), "{}", fault.detail);
            assert_eq!(fault.retry_after, Some(Duration::from_secs(retry)));
            assert_eq!(fault.code.number, 1002);
        }
    }
}
