//! Health checks of the primaries of tunnels with a standby, over the same path and the same connections as requests.
//!
//! One task for each such tunnel, while it has a standby; few checks at once, each with a deadline, their times spread. Any
//! status below 500 is healthy: the app answers. One of a TCP tunnel is healthy if it takes a connection. Started by the listener.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, Request, header};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::{
    About, Upstream, h2c,
    head::{self, Told, Towards},
    http1,
};
use crate::{
    body::{self, Body},
    dial::{AppStream, Dialer},
    endpoint::{AppProtocol, Endpoint, Side},
    fault::{self, Fault},
    limits,
    route::{Routes, Tunnel},
    shared::Shared,
    standby::{Claim, Event, HealthCheck},
    tasks::Tasks,
    visit::{RequestId, RequestIds},
};

const AGENT: &str = "hawse-health-check/1";
/// On whose behalf.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Starts what is not running: called now and then.
pub(crate) struct Checks<D> {
    up: Upstream<D>,
    shared: Arc<Shared>,
    at_once: Arc<Semaphore>,
}

impl<D: Dialer> Checks<D> {
    pub(crate) fn new(up: Upstream<D>, shared: Arc<Shared>) -> Self {
        let at_once = Arc::new(Semaphore::new(limits::CHECKS));
        Self { up, shared, at_once }
    }

    /// A task for each tunnel with a standby that has none.
    pub(crate) fn start(&self, tasks: &Tasks) {
        for (uid, claim) in self.shared.routes.unchecked() {
            let (up, shared, at_once) = (self.up.clone(), self.shared.clone(), self.at_once.clone());
            tasks.spawn(async move { run(&up, &shared.routes, &at_once, (uid, claim)).await });
        }
    }
}

/// Checks one tunnel until it has no standby any more, or another one.
async fn run<D: Dialer>(up: &Upstream<D>, routes: &Routes, at_once: &Semaphore, (uid, claim): (String, Claim)) {
    // Spread from the start on: many tunnels may come at once.
    let mut seed = uid
        .bytes()
        .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let ids = RequestIds::new(
        [seed.to_be_bytes(), (!seed).to_be_bytes()]
            .concat()
            .try_into()
            .unwrap_or_default(),
    );
    let mut pause = Duration::ZERO;
    loop {
        sleep(pause).await;
        let Some(tunnel) = routes.by_uid(&uid) else { return };
        let Some(standby) = tunnel
            .standby
            .as_ref()
            .filter(|found| Arc::ptr_eq(&found.state, claim.state()))
        else {
            return;
        };
        pause = jittered(standby.check.interval, &mut seed);
        let Ok(_place) = at_once.acquire().await else { return };
        if tunnel.closed.is_some() {
            continue;
        }
        let (event, why) = match timeout(standby.check.timeout, ask(up, &tunnel, &standby.check, ids.next())).await {
            Ok(Ok(())) => (
                Event::Passed,
                "The target has passed its health checks again.".to_owned(),
            ),
            Ok(Err(Failed::Answer(status))) => (
                Event::Failed,
                format!("The target answered a health check with {status}."),
            ),
            Ok(Err(Failed::Fault(fault))) => (Event::Lost(Side::Primary), fault.code.title.to_owned()),
            Err(_) => (
                Event::Failed,
                format!(
                    "The target did not answer a health check within {:?}.",
                    standby.check.timeout
                ),
            ),
        };
        standby.state.checked(Instant::now(), event, &why);
        if event == Event::Failed && standby.state.active() == Side::Primary {
            pause = limits::CHECK_INTERVAL_LEAST; // one failure is a doubt: it is settled at once
        }
    }
}

enum Failed {
    Answer(http::StatusCode),
    Fault(Fault),
}

/// One check. Not cancel safe: dropping it resets the stream to the app, as it should.
async fn ask<D: Dialer>(up: &Upstream<D>, tunnel: &Tunnel, check: &HealthCheck, id: RequestId) -> Result<(), Failed> {
    let endpoint = tunnel.primary.clone();
    let towards = match endpoint.app_protocol {
        AppProtocol::Http1 => Towards::Http1,
        AppProtocol::H2c => Towards::H2c,
        AppProtocol::Tcp => return connect(up, &endpoint, check.timeout / 2).await.map_err(Failed::Fault),
    };
    let request = request(tunnel, towards, &id).map_err(Failed::Fault)?;
    let about = About {
        visitor: NOBODY,
        endpoint,
    };
    let answer = match towards {
        Towards::H2c => h2c::exchange(up, &about, request).await,
        _ => http1::exchange(up, &about, request)
            .await
            .map(|answer| answer.into_response(about.endpoint.pool.clone())),
    };
    let answer = answer.map_err(Failed::Fault)?;
    let status = answer.status();
    // Read to its end, so that the connection serves on; what is longer is cut off.
    let mut rest = http_body_util::Limited::new(answer.into_body(), limits::CHECK_BODY_BYTES);
    while let Some(Ok(_)) = rest.frame().await {}
    if status.is_server_error() {
        Err(Failed::Answer(status))
    } else {
        Ok(())
    }
}

/// A TCP app is healthy if it takes a connection. An agent says nothing when it has one, and so is listened to for a refusal;
/// an app may well say nothing. Not cancel safe, as `ask`.
async fn connect<D: Dialer>(up: &Upstream<D>, endpoint: &Endpoint, refusal: Duration) -> Result<(), Fault> {
    let mut stream = up.dial(endpoint, NOBODY).await?;
    if !stream.is_direct()
        && let Ok(Err(_)) = timeout(refusal, stream.read_u8()).await
        && let Some(code) = stream.reset_code().and_then(fault::by_number)
    {
        return Err(Fault::new(code, ""));
    }
    let _ = stream.shutdown().await; // an end and no reset: it is nobody's fault
    Ok(())
}

fn request(tunnel: &Tunnel, towards: Towards, request_id: &RequestId) -> Result<Request<Body>, Fault> {
    let path = tunnel.standby.as_ref().map(|standby| standby.check.path.clone());
    let request = Request::get(path.as_ref().map_or("/", |path| path.as_str()))
        .header(header::USER_AGENT, AGENT)
        .body(body::empty())
        .map_err(|_| Fault::bad_request("The path of the health check is not valid."))?;
    let (mut head, body) = request.into_parts();
    let authority = HeaderValue::from_str(&tunnel.hostname).map_err(|_| Fault::bad_request("Not a host name."))?;
    let told = Told {
        forwarded_for: None,
        authority: &authority,
        host: tunnel.primary.host.as_deref(),
        tls: tunnel.primary.is_tls(),
        request_id,
        identity: None,
    };
    head::request(&mut head, towards, told)?;
    Ok(Request::from_parts(head, body))
}

/// The interval, a tenth longer or shorter.
fn jittered(interval: Duration, seed: &mut u64) -> Duration {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let share = u32::try_from((*seed >> 33) % 201).unwrap_or(100);
    interval * (900 + share) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_spread_by_a_tenth() {
        let mut seed = 7;
        let pauses: Vec<_> = (0..1000)
            .map(|_| jittered(Duration::from_secs(2), &mut seed).as_millis())
            .collect();
        assert!(pauses.iter().all(|pause| (1800..=2200).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().min() < Some(&1850) && pauses.iter().max() > Some(&2150));
    }
}
