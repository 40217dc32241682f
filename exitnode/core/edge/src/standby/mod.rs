//! The second target of a tunnel: its endpoint, what answers now, and what was counted. One for each tunnel that has one.
//!
//! Each exit node decides alone, from what its own requests and checks see (machine.rs): nobody is asked, so nothing waits for
//! the operator. Fed by the upstream (failover.rs, checks.rs); read by the same and by snapshots.

mod machine;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hawse_proto::{core, ir};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

pub(crate) use self::machine::Event;
use self::machine::{Machine, Settings};
use crate::{
    endpoint::{Endpoint, Side},
    limits,
};

/// How the primary is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    pub(crate) path: http::uri::PathAndQuery,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// A standby in the form that requests read.
#[derive(Debug)]
pub(crate) struct Standby {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) check: HealthCheck,
    /// Kept over edits that leave both targets as they are.
    pub(crate) state: Arc<State>,
    settings: Settings,
}

impl Standby {
    /// Compiles a standby of IR; the error says what is wrong with it.
    pub(crate) fn new(endpoint: Endpoint, said: &ir::Standby, turns: &Arc<Notify>) -> Result<Self, String> {
        let check = said.health_check.clone().unwrap_or_default();
        let path = if check.path.is_empty() { "/" } else { &check.path };
        let ms = |value: u32, default: Duration| match value {
            0 => default,
            value => Duration::from_millis(value.into()),
        };
        let settings = Settings {
            unhealthy_threshold: check.unhealthy_threshold.max(1),
            healthy_threshold: check.healthy_threshold.max(1),
            failback: Duration::from_millis(said.failback_ms.into()),
        };
        Ok(Self {
            endpoint: Arc::new(endpoint),
            check: HealthCheck {
                path: path
                    .parse()
                    .map_err(|_| format!("{path:?} is not a path for health checks"))?,
                interval: ms(check.interval_ms, limits::CHECK_INTERVAL).max(limits::CHECK_INTERVAL_LEAST),
                timeout: ms(check.timeout_ms, limits::CHECK_TIMEOUT),
            },
            state: Arc::new(State::new(settings, turns.clone())),
            settings,
        })
    }

    /// Goes on from the standby before an edit of the tunnel.
    pub(crate) fn after(mut self, old: &Self, same_primary: bool) -> Self {
        if !self.endpoint.is_like(&old.endpoint) {
            return self;
        }
        self.endpoint = old.endpoint.clone();
        if same_primary {
            old.state.machine().set(self.settings);
            self.state = old.state.clone();
        }
        self
    }
}

/// What answers, and what was counted.
#[derive(Debug)]
pub(crate) struct State {
    machine: Mutex<Machine>,
    /// Of the machine, for requests: they take no lock.
    on_standby: AtomicBool,
    /// Counts turns by checks: requests that wait for a primary which hangs go elsewhere.
    hung: watch::Sender<u64>,
    /// Why it turned last.
    reason: Mutex<String>,
    /// Of the whole edge: something has turned.
    turns: Arc<Notify>,
    checked: AtomicBool,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    failovers: AtomicU64,
    failbacks: AtomicU64,
    repeated: AtomicU64,
    passed: AtomicU64,
    failed: AtomicU64,
}

impl State {
    fn new(settings: Settings, turns: Arc<Notify>) -> Self {
        Self {
            machine: Mutex::new(Machine::new(settings)),
            on_standby: AtomicBool::new(false),
            hung: watch::Sender::new(0),
            reason: Mutex::default(),
            turns,
            checked: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }

    /// What answers now.
    pub(crate) fn active(&self) -> Side {
        if self.on_standby.load(Relaxed) {
            Side::Standby
        } else {
            Side::Primary
        }
    }

    /// A request had no connection to this side, or lost it.
    pub(crate) fn lost(&self, now: Instant, side: Side, why: &str) {
        self.on(now, Event::Lost(side), why);
    }

    /// A check of the primary has ended.
    pub(crate) fn checked(&self, now: Instant, event: Event, why: &str) {
        let count = if event == Event::Passed {
            &self.counts.passed
        } else {
            &self.counts.failed
        };
        count.fetch_add(1, Relaxed);
        if self.on(now, event, why) && self.active() == Side::Standby {
            self.hung.send_modify(|turns| *turns += 1);
        }
    }

    /// Resolves when checks find that what answers now answers no more.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.hung.subscribe()
    }

    /// The standby has answered a request.
    pub(crate) fn answered(&self) {
        self.counts.requests.fetch_add(1, Relaxed);
    }

    /// A request goes to the other side.
    pub(crate) fn repeated(&self) {
        self.counts.repeated.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> core::StandbyCounters {
        let read = |count: &AtomicU64| count.load(Relaxed);
        core::StandbyCounters {
            active: self.on_standby.load(Relaxed),
            requests: read(&self.counts.requests),
            failovers: read(&self.counts.failovers),
            failbacks: read(&self.counts.failbacks),
            repeated: read(&self.counts.repeated),
            checks_passed: read(&self.counts.passed),
            checks_failed: read(&self.counts.failed),
        }
    }

    pub(crate) fn target(&self, tunnel_uid: &str) -> core::TargetTurned {
        core::TargetTurned {
            tunnel_uid: tunnel_uid.to_owned(),
            standby: self.on_standby.load(Relaxed),
            reason: self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The right to check the primary; one task has it.
    pub(crate) fn claim_checks(self: &Arc<Self>) -> Option<Claim> {
        (!self.checked.swap(true, Relaxed)).then(|| Claim(self.clone()))
    }

    fn on(&self, now: Instant, event: Event, why: &str) -> bool {
        let mut machine = self.machine();
        if !machine.on(now, event) {
            return false;
        }
        let standby = machine.active() == Side::Standby;
        self.on_standby.store(standby, Relaxed);
        let count = if standby {
            &self.counts.failovers
        } else {
            &self.counts.failbacks
        };
        count.fetch_add(1, Relaxed);
        why.clone_into(&mut self.reason.lock().unwrap_or_else(PoisonError::into_inner));
        drop(machine);
        self.turns.notify_one();
        true
    }

    fn machine(&self) -> std::sync::MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`State::claim_checks`].
#[derive(Debug)]
pub(crate) struct Claim(Arc<State>);

impl Claim {
    pub(crate) fn state(&self) -> &Arc<State> {
        &self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.checked.store(false, Relaxed);
    }
}
