//! The public face: configuration in, listeners and counters out. Every call returns at once; none needs a lock of a request.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use hawse_proto::{
    core::{EdgeOptions, Snapshot, Targets},
    ir::{Object, object},
};
use rustls::crypto::aws_lc_rs;
use tokio::sync::mpsc;

use crate::{
    access,
    agents::AgentHandshake,
    dial::Dialer,
    listener::{BindError, Listening},
    shared::Shared,
};

/// Key of the fleet's object.
const FLEET_KEY: &str = "fleet";
/// Key of a tunnel's object, before its uid.
const TUNNEL_PREFIX: &str = "tunnel/";
/// Key of a certificate and other secret bytes, before its id.
const MATERIAL_PREFIX: &str = "material/";

/// What an exit node serves to visitors. Cheap to clone; clones are the same edge.
#[derive(Debug, Clone)]
pub struct Edge<D> {
    dialer: D,
    shared: Arc<Shared>,
}

impl<D: Dialer> Edge<D> {
    /// An edge that serves nothing yet.
    pub fn new(dialer: D) -> Self {
        Self {
            dialer,
            shared: Arc::default(),
        }
    }

    /// Puts an object in force, also replacing its last form. The error says why it was refused; what stands then is the last
    /// good form, or a closed tunnel if owner, token or features changed.
    pub fn apply(&self, object: Object) -> Result<(), String> {
        match object.object {
            Some(object::Object::Fleet(fleet)) => {
                self.shared.proxies.set(&fleet.proxies.unwrap_or_default())?;
                self.shared.direct.allow(&fleet.allowed_cidrs)?;
                // Agents come first where one port is both.
                let at = if fleet.https_port == fleet.agents_port {
                    0
                } else {
                    fleet.https_port
                };
                self.shared.http3_port.store(at, Relaxed);
                self.shared.certificates.set_fleet(Some(fleet.certificate_id));
                Ok(())
            }
            // Who may serve a tunnel and where other exit nodes are is the tunnel server's business.
            Some(object::Object::Token(_) | object::Object::Peer(_)) => Ok(()),
            Some(object::Object::Tunnel(tunnel)) => {
                let uid = object.key.strip_prefix(TUNNEL_PREFIX);
                if uid != Some(tunnel.uid.as_str()) {
                    return Err(format!(
                        "the key {:?} is not that of the tunnel {:?}",
                        object.key, tunnel.uid
                    ));
                }
                self.shared.routes.apply(tunnel)
            }
            Some(object::Object::Access(policy)) => {
                if object.key.strip_prefix(access::PREFIX) != Some(policy.uid.as_str()) {
                    return Err(format!(
                        "the key {:?} is not that of the access policy {:?}",
                        object.key, policy.uid
                    ));
                }
                self.shared.access.apply(policy)
            }
            Some(object::Object::Revoked(revoked)) => {
                self.shared.access.end(&revoked.ended);
                Ok(())
            }
            // Known to the protocol, not to this edge.
            None => Err(format!(
                "{:?} is of a kind that this exit node doesn't know: update it",
                object.key
            )),
        }
    }

    /// Removes an object or material by its key; requests that run are finished. Unknown keys are ignored.
    pub fn remove(&self, key: &str) {
        if key == FLEET_KEY {
            self.shared.http3_port.store(0, Relaxed);
            self.shared.certificates.set_fleet(None);
            let _ = self.shared.direct.allow(&[]); // nothing to be wrong about
        } else if let Some(uid) = key.strip_prefix(TUNNEL_PREFIX) {
            self.shared.routes.remove(uid);
        } else if let Some(uid) = key.strip_prefix(access::PREFIX) {
            self.shared.access.remove(uid);
        } else if let Some(id) = key.strip_prefix(MATERIAL_PREFIX) {
            self.shared.certificates.remove(id);
            self.shared.access.remove_material(id);
        }
    }

    /// Installs or replaces a certificate (leaf first, PEM) with its key. New handshakes use it at once.
    pub fn put_certificate(&self, id: &str, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), String> {
        self.shared
            .certificates
            .put(&aws_lc_rs::default_provider(), id, chain_pem, key_pem)
    }

    /// Where ports of TCP tunnels are bound from now on: with the tunnels, also before [`Edge::bind`]. Without it TCP tunnels
    /// are refused.
    pub fn bind_ports_at(&self, address: IpAddr) {
        self.shared.routes.ports.bind_at(address);
    }

    /// Installs or replaces secret bytes that are no certificate. The error says why what names them can't be enforced.
    pub fn put_material(&self, id: &str, data: &[u8]) -> Result<(), String> {
        self.shared.access.put_material(id, data)
    }

    /// Forgets what is stored of a tunnel's answers; how many those were. `None`: there is no such tunnel here.
    pub fn purge(&self, tunnel_uid: &str) -> Option<u64> {
        let tunnel = self.shared.routes.by_uid(tunnel_uid)?;
        Some(tunnel.shield.as_ref().map_or(0, |shield| shield.purge()))
    }

    /// Listens for visitors on TCP and, for HTTP/3, on UDP; inside a tokio runtime. Served once the result's `run` is awaited.
    pub fn bind(&self, addr: SocketAddr, options: EdgeOptions) -> Result<Listening, BindError> {
        Listening::bind(self.dialer.clone(), self.shared.clone(), addr, &options)
    }

    /// Agents that connect to the listeners' TCP ports come out here from now on; dropped, or without it, they are refused.
    pub fn agents(&self) -> mpsc::Receiver<AgentHandshake> {
        self.shared.agents.receive()
    }

    /// Resolves when a tunnel has turned to its standby or back since the last call: then `targets` says what answers. For one
    /// waiter. Cancel safe.
    pub async fn turned(&self) {
        self.shared.routes.turns.notified().await;
    }

    /// Resolves a few times a second while the process has too little memory (`EdgeOptions.max_memory_bytes`): whoever holds what
    /// nobody takes should let go. For one waiter. Cancel safe.
    pub async fn pressed(&self) {
        self.shared.pressure.felt().await;
    }

    /// What answers now, of every tunnel with a standby.
    pub fn targets(&self) -> Targets {
        self.shared.routes.targets()
    }

    /// Fills in the edge's part of a snapshot: counters of tunnels and connections.
    pub fn snapshot(&self, out: &mut Snapshot) {
        self.shared.totals.read(out);
        self.shared.routes.read(out);
    }
}
