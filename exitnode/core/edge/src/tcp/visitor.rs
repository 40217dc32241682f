//! One connection of a TCP tunnel: from the accepted socket to the app, and to the standby if the app was never reached.
//!
//! Caps, PROXY headers, pressure, places at the app and counters are those of requests; what a page would say, a reset does.

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed, time::Duration};

use hawse_proto::codes::{self, Code};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    Tcp,
    splice::{self, Ending, Ways},
};
use crate::{
    announced,
    caps::{self, visitor_of},
    dial::{AppStream, Dialer},
    direct::Stream,
    endpoint::Side,
    fault::{self, Fault},
    gate::{self, Entry, Gate},
    limits,
    patience::Stalling,
    route::Tunnel,
    standby::Standby,
    visit::Ticket,
};

/// A connection with a place under the caps.
pub(super) struct Arrived {
    socket: TcpStream,
    peer: SocketAddr,
    place: caps::Place,
    /// It begins with a PROXY header; the place is the load balancer's.
    is_announced: bool,
}

/// A connection to an app.
struct App<D: Dialer> {
    stream: Stream<D::Stream>,
    side: Side,
}

impl<D: Dialer> Tcp<D> {
    /// `None`: there is no place for it, and it is reset.
    pub(super) fn receive(&self, socket: TcpStream, peer: SocketAddr) -> Option<Arrived> {
        prepare(&socket);
        let is_announced = self.shared.proxies.announce(peer.ip());
        let place = match is_announced {
            true => self.doors.wait(peer.ip()),
            false => self.doors.visitor(peer.ip()),
        };
        Some(Arrived {
            socket,
            peer,
            place: place?,
            is_announced,
        })
    }

    /// Serves a connection to its end. Not cancel safe: dropping it resets both sides.
    pub(super) async fn visit(&self, port: u16, arrived: Arrived) {
        let Some((mut socket, visitor, _place)) = self.hear(arrived).await else {
            return;
        };
        let Some(tunnel) = self.shared.routes.at_port(port) else {
            return;
        };
        let ticket = Ticket::new(tunnel);
        ticket.tunnel.counters.request();
        if let Err(code) = self.carry(&mut socket, visitor, &ticket).await {
            ticket.tunnel.counters.error(code);
        }
    }

    /// Hears from a load balancer whose connection this is. Not cancel safe, as `visit`.
    async fn hear(&self, arrived: Arrived) -> Option<(TcpStream, SocketAddr, caps::Place)> {
        let Arrived {
            mut socket,
            peer,
            place,
            is_announced,
        } = arrived;
        if !is_announced {
            return Some((socket, peer, place));
        }
        let heard = timeout(self.limits.handshake_timeout, announced::read(&mut socket)).await;
        let Ok(Ok(announced)) = heard else {
            self.shared.totals.handshakes_failed.fetch_add(1, Relaxed);
            return None;
        };
        let visitor = announced.unwrap_or(peer);
        let place = self.doors.visitor(visitor.ip())?;
        Some((socket, visitor, place))
    }

    /// The error is what the tunnel's counters name. Not cancel safe, as `visit`.
    async fn carry(&self, socket: &mut TcpStream, visitor: SocketAddr, ticket: &Ticket) -> Result<(), &'static Code> {
        let tunnel = &*ticket.tunnel;
        if let Some(closed) = &tunnel.closed {
            return Err(closed.code);
        }
        if self.shared.pressure.refuses_requests() {
            return Err(&codes::OVERLOADED);
        }
        ticket.hold(turn(&tunnel.gate, visitor).await.ok_or(&codes::OVERLOADED)?);
        let app = self.dial(tunnel, visitor).await.map_err(|fault| fault.code)?;
        let mut ways = match &tunnel.standby {
            Some(_) => Ways::taped(),
            None => Ways::default(),
        };
        let (ending, app) = self.pass(socket, app, &mut ways, tunnel).await;
        let (ending, app) = match (ending, &tunnel.standby) {
            (Some(Ending::App), Some(standby)) => {
                let Some((code, mut again)) = never_reached(&app.stream).zip(ways.rewind()) else {
                    return Err(broken(&app.stream));
                };
                let other = self.other(standby, tunnel, visitor, (app.side, code)).await;
                let other = other.map_err(|fault| fault.code)?;
                self.pass(socket, other, &mut again, tunnel).await
            }
            _ => (ending, app),
        };
        match ending {
            Some(Ending::Whole) => {
                let _ = SockRef::from(&*socket).set_linger(None);
                app.stream.reset_on_drop(false);
                Ok(())
            }
            Some(Ending::App) => Err(broken(&app.stream)),
            Some(Ending::Visitor | Ending::Idle) | None => Ok(()),
        }
    }

    /// Passes bytes until it ends; `None`: the visitor took nothing for too long. Not cancel safe, as `visit`.
    async fn pass(
        &self,
        socket: &mut TcpStream,
        mut app: App<D>,
        ways: &mut Ways,
        tunnel: &Tunnel,
    ) -> (Option<Ending>, App<D>) {
        let idle = tunnel.idle_timeout.unwrap_or(self.limits.idle_timeout);
        let copied = splice::run((socket, &mut app.stream), ways, idle, &tunnel.counters);
        // A person may stop a terminal for long: only the idle limit counts, and that there are not too many of them.
        let ending = Stalling::patient(copied, &self.shared.stalls, idle).await;
        (ending, app)
    }

    /// A connection to what answers now, or else to the other one. Cancel safe.
    async fn dial(&self, tunnel: &Tunnel, visitor: SocketAddr) -> Result<App<D>, Fault> {
        let Some(standby) = &tunnel.standby else {
            return self.dial_side(tunnel, Side::Primary, visitor).await;
        };
        let side = standby.state.active();
        match self.dial_side(tunnel, side, visitor).await {
            Ok(app) => {
                if side == Side::Standby {
                    standby.state.answered();
                }
                Ok(app)
            }
            Err(fault) => self.other(standby, tunnel, visitor, (side, fault.code)).await,
        }
    }

    /// A connection to the other target, since this one has taken nothing of the visitor's. Cancel safe.
    async fn other(
        &self,
        standby: &Standby,
        tunnel: &Tunnel,
        visitor: SocketAddr,
        (side, code): (Side, &Code),
    ) -> Result<App<D>, Fault> {
        standby.state.lost(Instant::now(), side, code.title);
        standby.state.repeated();
        let other = side.other();
        let app = self.dial_side(tunnel, other, visitor).await.inspect_err(|fault| {
            standby.state.lost(Instant::now(), other, fault.code.title);
        })?;
        if other == Side::Standby {
            standby.state.answered();
        }
        Ok(app)
    }

    /// Cancel safe.
    async fn dial_side(&self, tunnel: &Tunnel, side: Side, visitor: SocketAddr) -> Result<App<D>, Fault> {
        let stream = self.up.dial(tunnel.endpoint(side), visitor).await?;
        stream.reset_on_drop(true);
        Ok(App { stream, side })
    }
}

/// Until it has ended in order, a socket is reset when it is dropped.
fn prepare(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let options = SockRef::from(socket);
    let _ = options.set_linger(Some(Duration::ZERO));
    let _ = options.set_tcp_notsent_lowat(limits::UNSENT_BYTES);
    let keepalive = TcpKeepalive::new()
        .with_time(limits::TCP_KEEPALIVE)
        .with_interval(limits::TCP_KEEPALIVE_INTERVAL);
    let _ = options.set_tcp_keepalive(&keepalive);
}

/// A place at the app, in turn among visitors; `None`: there is none within the time. Cancel safe.
async fn turn(gate: &Gate, visitor: SocketAddr) -> Option<gate::Place> {
    match gate.enter(visitor_of(visitor.ip())) {
        Entry::Placed(place) => Some(place),
        Entry::Waits(mut waiting) => timeout(limits::TUNNEL_QUEUE_TIMEOUT, waiting.place()).await.ok()?,
        Entry::Full => None,
    }
}

/// An agent has said that it had no connection to the app: nothing of what the visitor sent reached it.
fn never_reached(app: &impl AppStream) -> Option<&'static Code> {
    const UNREACHED: [u32; 3] = [
        codes::NO_AGENT.number,
        codes::APP_REFUSED.number,
        codes::APP_TIMED_OUT.number,
    ];
    let code = fault::by_number(app.reset_code()?)?;
    UNREACHED.contains(&code.number).then_some(code)
}

/// Whose doing it was that the connection to the app broke.
fn broken(app: &impl AppStream) -> &'static Code {
    match app.reset_code().and_then(fault::by_number) {
        Some(code) => code,
        None if app.is_direct() => &codes::APP_CLOSED,
        None => &codes::AGENT_LOST,
    }
}
