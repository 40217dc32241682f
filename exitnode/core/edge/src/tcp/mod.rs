//! TCP tunnels: each has a port of its own, whose connections are passed to its app byte by byte.
//!
//! No TLS and no HTTP: what a visitor and the app say to each other is theirs. A connection that ends in any other way than by
//! both sides' ends is reset, so that nobody takes a cut message for a whole one. ports.rs holds the sockets, visitor.rs takes
//! one connection to its app, splice.rs copies. Started and ended by the listener.

mod ports;
mod splice;
mod visitor;

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

use self::ports::Port;
pub(crate) use self::ports::Ports;
use crate::{
    caps::Doors,
    dial::Dialer,
    limits::{self, Limits},
    shared::Shared,
    sockets,
    tasks::Tasks,
    upstream::Upstream,
};

/// What `required_features` of a TCP tunnel says, so that an exit node which takes it for something else serves none.
pub(crate) const FEATURE: &str = "tcp/1";

/// What connections of TCP tunnels share.
pub(crate) struct Tcp<D> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) up: Upstream<D>,
    pub(crate) doors: Doors,
    pub(crate) limits: Limits,
    pub(crate) tasks: Tasks,
}

impl<D: Dialer> Tcp<D> {
    /// Serves the ports that tunnels say, until `finish` turns true; connections hold a receiver of it until they have ended.
    /// Not cancel safe: it is a task of the listener's.
    pub(crate) async fn run(self: Arc<Self>, mut finish: watch::Receiver<bool>) {
        let ports = &self.shared.routes.ports;
        loop {
            for port in ports.unserved() {
                self.tasks.spawn(self.clone().serve(port, finish.clone()));
            }
            tokio::select! {
                () = ports.news() => {}
                () = finished(&mut finish) => break,
            }
        }
        ports.shut();
    }

    /// Accepts the connections of one port while a tunnel wants it. Not cancel safe: those that wait are reset.
    async fn serve(self: Arc<Self>, port: Port, mut finish: watch::Receiver<bool>) {
        let Port { number, socket, turned } = port;
        let Ok(mut socket) = TcpListener::from_std(socket) else {
            return;
        };
        loop {
            tokio::select! {
                biased;
                () = finished(&mut finish) => break,
                () = turned.notified() => match self.shared.routes.ports.keep(number, socket) {
                    Some(kept) => socket = kept,
                    None => return,
                },
                accepted = socket.accept() => match accepted {
                    Ok(visitor) => self.admit(number, visitor, &finish),
                    // Out of file descriptors or memory: wait for connections to end, the others go on.
                    Err(_) => sleep(limits::ACCEPT_PAUSE).await,
                },
            }
        }
        for visitor in sockets::waiting(socket) {
            self.admit(number, visitor, &finish);
        }
    }

    /// Gives the connection to a task of its own, or resets it.
    fn admit(self: &Arc<Self>, port: u16, (socket, peer): (TcpStream, SocketAddr), finish: &watch::Receiver<bool>) {
        let Some(arrived) = self.receive(socket, peer) else {
            return;
        };
        let (this, finish) = (self.clone(), finish.clone());
        self.tasks.spawn(async move {
            this.visit(port, arrived).await;
            drop(finish);
        });
    }
}

/// Resolves when the listener drains. Cancel safe.
async fn finished(finish: &mut watch::Receiver<bool>) {
    let _ = finish.wait_for(|finishing| *finishing).await;
}
