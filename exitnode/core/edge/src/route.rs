//! Host name, or port of a TCP tunnel -> compiled tunnel. Each tunnel is swapped on its own; a request reads the table without a
//! lock.
//!
//! Compiles `ir.Tunnel` (parse, don't validate) and keeps the last good form when an edit is refused, unless owner or
//! token changed, or who may come in: then the tunnel is closed. Does not open streams; the pools of a tunnel's endpoints live here so that edits keep them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hawse_proto::{
    codes::{self, Code},
    core::{Snapshot, Targets, TunnelCounters},
    ir,
};
use tokio::sync::Notify;

use crate::{
    access,
    counters::Counters,
    endpoint::{AppProtocol, Endpoint, Side, Target},
    fault,
    gate::Gate,
    limits,
    shield::{Shield, Store},
    standby::{Claim, Standby},
    tcp::{self, Ports},
};

/// Names that `ir.Tunnel.required_features` may hold: a tunnel that needs what an exit node lacks is not served by it.
pub(crate) const FEATURES: &[&str] = &["shield/1", tcp::FEATURE, access::FEATURE];
/// A host name is at most this long (RFC 1035).
const HOST_BYTES: usize = 253;

/// Every visitor gets this answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) code: &'static Code,
    pub(crate) message: String,
}

/// One tunnel in the form that requests read.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) uid: String,
    pub(crate) hostname: String,
    /// `Some`: a TCP tunnel, whose visitors come to this port; none comes by the host name.
    pub(crate) port: Option<u16>,
    /// `None`: the fleet's.
    pub(crate) certificate_id: Option<String>,
    pub(crate) primary: Arc<Endpoint>,
    pub(crate) standby: Option<Standby>,
    /// `None`: the exit node's own.
    pub(crate) request_timeout: Option<Duration>,
    /// `None`: the exit node's own.
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) closed: Option<Closed>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) gate: Gate,
    /// Policies that all have to let a visitor in.
    pub(crate) access: Vec<String>,
    /// `None`: nothing is shared.
    pub(crate) shield: Option<Arc<Shield>>,
    owner: Owner,
}

/// What must not change under a last good form: another owner's visitors would reach this one's app, or those whom a new
/// policy keeps out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    namespace: String,
    token_uid: String,
    standby_token_uid: String,
    generation: u64,
    access: Vec<String>,
}

impl Tunnel {
    pub(crate) fn endpoint(&self, side: Side) -> &Arc<Endpoint> {
        match (side, &self.standby) {
            (Side::Standby, Some(standby)) => &standby.endpoint,
            _ => &self.primary,
        }
    }

    fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        [&self.primary]
            .into_iter()
            .chain(self.standby.as_ref().map(|standby| &standby.endpoint))
    }
}

/// All tunnels of the exit node.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    by_host: papaya::HashMap<String, Arc<Tunnel>>,
    by_port: papaya::HashMap<u16, Arc<Tunnel>>,
    by_uid: papaya::HashMap<String, Arc<Tunnel>>,
    /// What tunnels' shields store.
    pub(crate) store: Arc<Store>,
    /// Writers take turns; readers never wait.
    writing: Mutex<()>,
    /// A tunnel has turned to its standby, or back.
    pub(crate) turns: Arc<Notify>,
    /// The sockets of `by_port`.
    pub(crate) ports: Ports,
}

impl Routes {
    /// The tunnel of a host name (lower case, no trailing dot).
    pub(crate) fn find(&self, host: &str) -> Option<Arc<Tunnel>> {
        self.by_host.pin().get(host).cloned()
    }

    /// The TCP tunnel of a port.
    pub(crate) fn at_port(&self, port: u16) -> Option<Arc<Tunnel>> {
        self.by_port.pin().get(&port).cloned()
    }

    /// Puts `new` in force, or says why not; see the module for what then stays.
    pub(crate) fn apply(&self, new: ir::Tunnel) -> Result<(), String> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.by_uid.pin().get(&new.uid).cloned();
        let mut problems = problems(&new);
        let missing = missing_features(&new);
        let primary = primary(&new).map_err(|why| problems.push(why));
        let standby = self.standby(&new).map_err(|why| problems.push(why));
        let (true, Ok(primary), Ok(standby)) = (problems.is_empty() && missing.is_empty(), primary, standby) else {
            let why = [problems, missing.clone()].concat().join("; ");
            if let Some(old) = old
                && (!missing.is_empty() || old.owner != owner(&new))
            {
                self.insert(shut(&old));
            }
            return Err(why);
        };
        self.taken_by_newer(&new)?;
        if let Some(port) = port(&new) {
            self.ports.open(port)?;
        }
        if let Some(old) = &old
            && (&old.hostname, old.port) != (&new.hostname, port(&new))
        {
            self.release(old);
        }
        self.insert(compile(new, (primary, standby), old.as_deref(), &self.store));
        Ok(())
    }

    /// Forgets a tunnel; requests that run are finished.
    pub(crate) fn remove(&self, uid: &str) {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = self.by_uid.pin().remove(uid) {
            old.endpoints().for_each(|endpoint| endpoint.pool.close());
            if let Some(shield) = &old.shield {
                shield.purge();
            }
            self.tell_of_another_standby(old.standby.as_ref(), None);
            self.release(old);
        }
    }

    /// Closes connections to apps that were idle for too long.
    pub(crate) fn sweep(&self, now: tokio::time::Instant) {
        for tunnel in self.by_uid.pin().values() {
            tunnel.endpoints().for_each(|endpoint| endpoint.pool.sweep(now));
        }
    }

    pub(crate) fn read(&self, out: &mut Snapshot) {
        out.tunnels = self
            .by_uid
            .pin()
            .values()
            .map(|tunnel| TunnelCounters {
                queued: tunnel.gate.queued() as u64,
                standby: tunnel.standby.as_ref().map(|standby| standby.state.read()),
                shield: tunnel.shield.as_ref().map(|shield| shield.read()),
                ..tunnel.counters.read(&tunnel.uid)
            })
            .collect();
    }

    /// A tunnel in force.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<Arc<Tunnel>> {
        self.by_uid.pin().get(uid).cloned()
    }

    /// Tunnels with a standby whose primary nobody checks, and the right to.
    pub(crate) fn unchecked(&self) -> Vec<(String, Claim)> {
        let tunnels = self.by_uid.pin();
        let claims = tunnels.values().filter_map(|tunnel| {
            let claim = tunnel.standby.as_ref()?.state.claim_checks()?;
            Some((tunnel.uid.clone(), claim))
        });
        claims.collect()
    }

    /// What answers now, of every tunnel with a standby.
    pub(crate) fn targets(&self) -> Targets {
        let tunnels = self.by_uid.pin();
        let targets = (tunnels.values()).filter_map(|tunnel| Some(tunnel.standby.as_ref()?.state.target(&tunnel.uid)));
        Targets {
            targets: targets.collect(),
        }
    }

    fn standby(&self, tunnel: &ir::Tunnel) -> Result<Option<Standby>, String> {
        let Some(said) = &tunnel.standby else { return Ok(None) };
        let target = standby_target(said).ok_or("the standby leads nowhere that this exit node knows")?;
        let endpoint = Endpoint::new(&tunnel.uid, Side::Standby, target, app_protocol(said.app_protocol)?)?;
        Standby::new(endpoint, said, &self.turns).map(Some)
    }

    fn insert(&self, tunnel: Tunnel) {
        let tunnel = Arc::new(tunnel);
        let tunnels = self.by_uid.pin();
        if let Some(old) = tunnels.insert(tunnel.uid.clone(), tunnel.clone()) {
            if let Some(shield) = &old.shield {
                shield.is_replaced(tunnel.shield.as_deref());
            }
            let is_kept = |endpoint| tunnel.endpoints().any(|kept| Arc::ptr_eq(kept, endpoint));
            let gone = old.endpoints().filter(|endpoint| !is_kept(endpoint));
            gone.for_each(|endpoint| endpoint.pool.close());
            self.tell_of_another_standby(old.standby.as_ref(), tunnel.standby.as_ref());
        }
        match tunnel.port {
            None => drop(self.by_host.pin().insert(tunnel.hostname.clone(), tunnel)),
            Some(port) => drop(self.by_port.pin().insert(port, tunnel)),
        }
    }

    /// What was said of a standby that is gone holds no more.
    fn tell_of_another_standby(&self, old: Option<&Standby>, new: Option<&Standby>) {
        if let Some(old) = old
            && !new.is_some_and(|new| Arc::ptr_eq(&new.state, &old.state))
        {
            self.turns.notify_one();
        }
    }

    /// Gives the host name or the port up, unless another tunnel has it by now.
    fn release(&self, tunnel: &Tunnel) {
        let is_its_own = |held: &Arc<Tunnel>| held.uid == tunnel.uid;
        let Some(port) = tunnel.port else {
            let _ = self
                .by_host
                .pin()
                .remove_if(&tunnel.hostname, |_, held| is_its_own(held));
            return;
        };
        if let Ok(Some(_)) = self.by_port.pin().remove_if(&port, |_, held| is_its_own(held)) {
            self.ports.close(port);
        }
    }

    /// A name goes from holder to holder by its generation; an upsert that comes late must not take it back.
    fn taken_by_newer(&self, new: &ir::Tunnel) -> Result<(), String> {
        let held = match port(new) {
            None => self.find(&new.hostname),
            Some(port) => self.at_port(port),
        };
        match held {
            Some(held) if held.uid != new.uid && held.owner.generation > new.holder_generation => Err(format!(
                "{} belongs to a newer holder (generation {}, this tunnel has {})",
                new.hostname, held.owner.generation, new.holder_generation
            )),
            _ => Ok(()),
        }
    }
}

fn owner(tunnel: &ir::Tunnel) -> Owner {
    Owner {
        namespace: tunnel.namespace.clone(),
        token_uid: target(tunnel).token_uid().to_owned(),
        standby_token_uid: (tunnel.standby.as_ref())
            .and_then(standby_target)
            .map(|target| target.token_uid().to_owned())
            .unwrap_or_default(),
        generation: tunnel.holder_generation,
        access: tunnel.access_policy_uids.clone(),
    }
}

/// Of a closed tunnel, which has none: agents that nobody is.
fn target(tunnel: &ir::Tunnel) -> Target {
    match &tunnel.target {
        Some(ir::tunnel::Target::Agent(agent)) => Target::Agent(agent.clone()),
        Some(ir::tunnel::Target::Direct(direct)) => Target::Direct(direct.clone()),
        None => Target::Agent(ir::AgentTarget::default()),
    }
}

fn standby_target(standby: &ir::Standby) -> Option<Target> {
    match standby.target.as_ref()? {
        ir::standby::Target::Agent(agent) => Some(Target::Agent(agent.clone())),
        ir::standby::Target::Direct(direct) => Some(Target::Direct(direct.clone())),
    }
}

fn primary(tunnel: &ir::Tunnel) -> Result<Endpoint, String> {
    let app_protocol = app_protocol(tunnel.app_protocol)?;
    Endpoint::new(&tunnel.uid, Side::Primary, target(tunnel), app_protocol)
}

fn app_protocol(number: i32) -> Result<AppProtocol, String> {
    match ir::AppProtocol::try_from(number) {
        Ok(ir::AppProtocol::H2c) => Ok(AppProtocol::H2c),
        Ok(ir::AppProtocol::Http1 | ir::AppProtocol::Unspecified) => Ok(AppProtocol::Http1),
        Ok(ir::AppProtocol::Tcp) => Ok(AppProtocol::Tcp),
        Err(_) => Err(format!("app protocol {number} is not known to this exit node")),
    }
}

/// The port of a TCP tunnel; 0 stands for none, and what is no port is one of its problems.
fn port(tunnel: &ir::Tunnel) -> Option<u16> {
    u16::try_from(tunnel.tcp_port).ok().filter(|port| *port != 0)
}

/// What is wrong with how a tunnel is reached and what its apps speak.
fn protocol_problems(tunnel: &ir::Tunnel) -> Vec<String> {
    let mut found = Vec::new();
    if tunnel.tcp_port > u16::MAX.into() {
        found.push(format!("{} is not a TCP port", tunnel.tcp_port));
    }
    if port(tunnel).is_some() && !tunnel.access_policy_uids.is_empty() {
        found.push("access policies are enforced for HTTP tunnels only, and a port has none of that".into());
    }
    let is_tcp = |protocol: i32| protocol == i32::from(ir::AppProtocol::Tcp);
    // A closed tunnel leads to no app.
    let primary = tunnel.target.is_some().then_some(tunnel.app_protocol);
    let standby = tunnel.standby.as_ref().map(|standby| standby.app_protocol);
    let mut protocols = primary.into_iter().chain(standby);
    if protocols.any(|protocol| is_tcp(protocol) != port(tunnel).is_some()) {
        found
            .push("a TCP tunnel has a port, and nothing but apps that take TCP; every other tunnel has neither".into());
    }
    found
}

/// Everything that is wrong with a tunnel, not only the first.
fn problems(tunnel: &ir::Tunnel) -> Vec<String> {
    let mut found = protocol_problems(tunnel);
    if tunnel.uid.is_empty() {
        found.push("the tunnel has no uid".into());
    }
    if !is_hostname(&tunnel.hostname) {
        found.push(format!("{:?} is not a host name in lower case", tunnel.hostname));
    }
    if tunnel.target.is_none() && tunnel.closed.is_none() {
        found.push("the tunnel leads nowhere that this exit node knows: it has no target".into());
    }
    if tunnel.max_concurrent as usize > limits::TUNNEL_REQUESTS {
        let (wanted, most) = (tunnel.max_concurrent, limits::TUNNEL_REQUESTS);
        found.push(format!(
            "{wanted} requests at once are more than the {most} that a tunnel may have"
        ));
    }
    found.extend(tunnel.shield.as_ref().and_then(Shield::problem));
    if let Some(closed) = &tunnel.closed
        && fault::by_text(&closed.code).is_none()
    {
        found.push(format!("{:?} is not a code that an edge answers with", closed.code));
    }
    found
}

fn missing_features(tunnel: &ir::Tunnel) -> Vec<String> {
    (tunnel.required_features.iter())
        .filter(|name| !FEATURES.contains(&name.as_str()))
        .map(|name| format!("this exit node lacks the feature {name:?}: update it, the tunnel stays closed until then"))
        .collect()
}

fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    name.len() <= HOST_BYTES && name.split('.').all(label)
}

fn compile(
    new: ir::Tunnel,
    (primary, standby): (Endpoint, Option<Standby>),
    old: Option<&Tunnel>,
    store: &Arc<Store>,
) -> Tunnel {
    let owner = owner(&new);
    let timeouts = new.timeouts.unwrap_or_default();
    let ms = |value: u32| (value > 0).then(|| Duration::from_millis(value.into()));
    // Connections to the app of the last token are not this one's.
    let same_owner = old.filter(|old| old.owner == owner);
    let kept = same_owner.filter(|old| old.primary.is_like(&primary));
    let standby = match (standby, same_owner.and_then(|old| old.standby.as_ref())) {
        (Some(standby), Some(old)) => Some(standby.after(old, kept.is_some())),
        (standby, _) => standby,
    };
    let primary = kept.map_or_else(|| Arc::new(primary), |old| old.primary.clone());
    let gate = old.map(|old| old.gate.clone()).unwrap_or_default();
    gate.set_most(match new.max_concurrent {
        0 => limits::TUNNEL_REQUESTS,
        most => most as usize,
    });
    let counters = old.map(|old| old.counters.clone()).unwrap_or_default();
    // What the app of another target or owner said is not this one's.
    let before = kept
        .filter(|old| old.hostname == new.hostname)
        .and_then(|old| old.shield.as_deref());
    let said = new.shield.clone();
    let shield = said.map(|said| Arc::new(Shield::new(said, store, before, counters.shield.clone())));
    Tunnel {
        counters,
        shield,
        gate,
        primary,
        standby,
        port: port(&new),
        access: new.access_policy_uids,
        uid: new.uid,
        hostname: new.hostname,
        certificate_id: Some(new.certificate_id).filter(|id| !id.is_empty()),
        request_timeout: ms(timeouts.request_ms),
        idle_timeout: ms(timeouts.idle_ms),
        closed: new.closed.map(|closed| Closed {
            code: fault::by_text(&closed.code).unwrap_or(&codes::TUNNEL_CLOSED),
            message: closed.message,
        }),
        owner,
    }
}

/// The same tunnel, closed: its edit could not be taken and the old form may not be served.
fn shut(old: &Tunnel) -> Tunnel {
    let message = "The exit node could not take up its last change.".to_owned();
    Tunnel {
        uid: old.uid.clone(),
        hostname: old.hostname.clone(),
        port: old.port,
        certificate_id: old.certificate_id.clone(),
        primary: Arc::new(old.primary.unused()),
        standby: None,
        request_timeout: old.request_timeout,
        idle_timeout: old.idle_timeout,
        closed: Some(Closed {
            code: &codes::TUNNEL_CLOSED,
            message,
        }),
        counters: old.counters.clone(),
        shield: None,
        gate: old.gate.clone(),
        access: old.access.clone(),
        owner: old.owner.clone(),
    }
}

#[cfg(test)]
mod tests;
