//! One place where a tunnel's app is: the agents of a token, or an address that the exit node dials itself.
//!
//! Compiled by route.rs, which keeps an endpoint over edits that do not touch it: its connections and what was looked up of
//! its name live here. Read by the upstream.

use std::sync::Arc;

use hawse_proto::ir;

use crate::{
    direct::{Site, TCP_SCHEME},
    upstream::Pool,
};

/// What the app behind a tunnel speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppProtocol {
    Http1,
    H2c,
    /// Not HTTP: bytes are passed as they are.
    Tcp,
}

/// Of two targets, which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Primary,
    Standby,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Primary => Self::Standby,
            Self::Standby => Self::Primary,
        }
    }
}

/// Where an endpoint is, as IR has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    Agent(ir::AgentTarget),
    Direct(ir::UrlTarget),
}

impl Target {
    pub(crate) fn token_uid(&self) -> &str {
        match self {
            Self::Agent(agent) => &agent.token_uid,
            Self::Direct(_) => "",
        }
    }
}

/// How an endpoint is reached.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// By agents that registered this: the tunnel's uid, or the standby's name.
    Agent(String),
    Direct(Arc<Site>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) way: Way,
    pub(crate) app_protocol: AppProtocol,
    pub(crate) pool: Arc<Pool>,
    /// The app gets this as Host; `None`: what the visitor asked for.
    pub(crate) host: Option<String>,
    target: Target,
}

impl Endpoint {
    /// The error says what is wrong with the target.
    pub(crate) fn new(uid: &str, side: Side, target: Target, app_protocol: AppProtocol) -> Result<Self, String> {
        if let Target::Direct(direct) = &target
            && (direct.scheme == TCP_SCHEME) != (app_protocol == AppProtocol::Tcp)
        {
            let scheme = &direct.scheme;
            return Err(format!(
                "a target with the scheme {scheme:?} does not go with the protocol {app_protocol:?}"
            ));
        }
        let way = match &target {
            Target::Agent(_) => Way::Agent(match side {
                Side::Primary => uid.to_owned(),
                Side::Standby => standby_uid(uid),
            }),
            Target::Direct(direct) => Way::Direct(Arc::new(Site::new(direct)?)),
        };
        let host = match &way {
            Way::Agent(_) => None,
            Way::Direct(site) => site.host_field(),
        };
        Ok(Self {
            way,
            app_protocol,
            pool: Arc::default(),
            host,
            target,
        })
    }

    /// The same without its connections.
    pub(crate) fn unused(&self) -> Self {
        Self {
            way: self.way.clone(),
            app_protocol: self.app_protocol,
            pool: Arc::default(),
            host: self.host.clone(),
            target: self.target.clone(),
        }
    }

    /// It is where and what the other one is.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.target == other.target && self.app_protocol == other.app_protocol
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(&self.way, Way::Direct(site) if site.is_tls())
    }
}

/// What agents of a standby's token register; `directory.py` offers it under the same name.
pub(crate) fn standby_uid(uid: &str) -> String {
    format!("{uid}/standby")
}
