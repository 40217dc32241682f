//! What all listeners of one edge see: routes, certificates, totals, who stopped reading. Changed by commands, read by requests
//! without a lock.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use http::HeaderValue;

use crate::{
    access::Access,
    agents::Agents,
    certs::{Certificate, Certificates},
    counters::Totals,
    direct::Direct,
    identity_service::IdentityService,
    limits,
    pressure::Pressure,
    proxies::Proxies,
    route::Routes,
    stalls::Stalls,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) access: Arc<Access>,
    pub(crate) identity_service: Arc<IdentityService>,
    pub(crate) routes: Routes,
    pub(crate) certificates: Certificates,
    pub(crate) totals: Totals,
    /// Answers that their visitors don't take.
    pub(crate) stalls: Stalls,
    /// Requests whose bodies their apps don't read.
    pub(crate) uploads: Stalls,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) agents: Agents,
    pub(crate) proxies: Proxies,
    pub(crate) direct: Direct,
    /// The fleet's public port of visitors, if HTTP/3 is there too; 0: it is not, or no fleet is known.
    pub(crate) http3_port: AtomicU32,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            access: Arc::default(),
            identity_service: Arc::default(),
            routes: Routes::default(),
            certificates: Certificates::default(),
            totals: Totals::default(),
            stalls: Stalls::new(limits::STALLED_READERS),
            uploads: Stalls::new(limits::STALLED_UPLOADS),
            pressure: Arc::default(),
            agents: Agents::default(),
            direct: Direct::default(),
            proxies: Proxies::default(),
            http3_port: AtomicU32::new(0),
        }
    }
}

impl Shared {
    /// The certificate of a connection with this SNI: the tunnel's own, if it brought one, else as `Certificates` chooses.
    pub(crate) fn certificate(&self, sni: Option<&str>) -> Option<Arc<Certificate>> {
        let own = || {
            let host = sni?.trim_end_matches('.').to_ascii_lowercase();
            let tunnel = self.routes.find(&host)?;
            self.certificates.own(tunnel.certificate_id.as_deref()?, &host)
        };
        own().or_else(|| self.certificates.find(sni))
    }

    /// Value of Alt-Svc where HTTP/3 is served (RFC 7838): at the public port, which is not the one that is listened on.
    pub(crate) fn alt_svc(&self) -> Option<HeaderValue> {
        let port = self.http3_port.load(Relaxed);
        let age = limits::ALT_SVC_AGE.as_secs();
        (port != 0).then(|| HeaderValue::try_from(format!("h3=\":{port}\"; ma={age}")).ok())?
    }
}
