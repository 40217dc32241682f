//! Targets that no agent serves: a URL or a Service, dialled by the exit node itself at an address that was judged before.
//!
//! The address that was judged is the one that is dialled: a name is not looked up again in between. TLS is verified against
//! the web's roots under the host of the URL, never under an address. Called by the upstream, which sends requests over it
//! like over an agent's stream.

mod addresses;
mod resolve;
mod stream;
mod tls;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use hawse_proto::codes;
use ipnet::IpNet;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

pub(crate) use self::stream::Stream;
use self::{
    addresses::{Source, refusal},
    resolve::{Known, Resolver, System},
};
use crate::{endpoint::AppProtocol, fault::Fault, limits, networks};

/// Scheme of targets that speak no HTTP.
pub(crate) const TCP_SCHEME: &str = "tcp";

/// Where a direct target is, in the form that requests read.
#[derive(Debug)]
pub(crate) struct Site {
    host: String,
    port: u16,
    /// `Some`: over TLS, and the certificate has to name it.
    name: Option<ServerName<'static>>,
    /// Given by the operator, of a Service; empty: `host` is looked up.
    given: Vec<IpAddr>,
    known: Known,
}

impl Site {
    /// Compiles a target of IR; the error says what is wrong with it.
    pub(crate) fn new(target: &hawse_proto::ir::UrlTarget) -> Result<Self, String> {
        let name = match target.scheme.as_str() {
            "http" | TCP_SCHEME => None,
            "https" => Some(ServerName::try_from(target.host.clone()).map_err(|_| {
                let host = &target.host;
                format!("{host:?} is not a name that a certificate could have")
            })?),
            other => {
                return Err(format!(
                    "the scheme {other:?} of the target is neither http, https nor tcp"
                ));
            }
        };
        let port = u16::try_from(target.port).ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| format!("{} is not a port of a target", target.port))?;
        let is_host = |host: &str| !host.is_empty() && host.len() <= 253 && !host.contains(['/', '@', '\0', ' ']);
        if !is_host(&target.host) {
            return Err(format!("{:?} is not a host of a target", target.host));
        }
        let given: Result<Vec<IpAddr>, _> = target.addresses.iter().map(|address| address.parse()).collect();
        Ok(Self {
            host: target.host.clone(),
            port,
            name,
            given: given.map_err(|_| "an address of the target's Service is not one".to_owned())?,
            known: Known::default(),
        })
    }

    /// What the app gets as Host; `None`: what the visitor asked for.
    pub(crate) fn host_field(&self) -> Option<String> {
        if !self.given.is_empty() {
            return None;
        }
        let host = match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        let usual = if self.is_tls() { 443 } else { 80 };
        Some(if self.port == usual {
            host
        } else {
            format!("{host}:{}", self.port)
        })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.name.is_some()
    }
}

/// Opens connections to direct targets. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Direct {
    resolver: Arc<dyn Resolver>,
    /// By application protocol, which is told by ALPN.
    tls: Arc<tls::Configs>,
    allowed: Arc<Mutex<Arc<[IpNet]>>>,
}

impl Default for Direct {
    fn default() -> Self {
        Self {
            resolver: Arc::new(System::default()),
            tls: Arc::new(tls::Configs::of_the_web()),
            allowed: Arc::default(),
        }
    }
}

impl Direct {
    /// Networks that are dialled although such addresses are refused otherwise; what is not one is an error, and nothing
    /// changes.
    pub(crate) fn allow(&self, networks: &[String]) -> Result<(), String> {
        let networks = networks::parse(networks)?.into();
        *self.allowed.lock().unwrap_or_else(PoisonError::into_inner) = networks;
        Ok(())
    }

    /// A connection to the app at `site`. Cancel safe.
    pub(crate) async fn open<S>(&self, site: &Site, protocol: AppProtocol) -> Result<Stream<S>, Fault> {
        let addresses = self.addresses(site).await?;
        let socket = connect(&addresses, site.port).await?;
        let Some(name) = site.name.clone() else {
            return Ok(Stream::Plain(socket));
        };
        let config = self.tls.of(protocol);
        Ok(Stream::Tls(Box::new(handshake(config, name, socket).await?)))
    }

    /// The addresses of a site that may be dialled.
    async fn addresses(&self, site: &Site) -> Result<Vec<IpAddr>, Fault> {
        let (found, source): (Arc<[IpAddr]>, _) = match site.host.parse() {
            _ if !site.given.is_empty() => (site.given.as_slice().into(), Source::Cluster),
            Ok(address) => ([address].into(), Source::Tenant),
            Err(_) => {
                let found = site.known.addresses(&site.host, self.resolver.as_ref()).await;
                (
                    found.map_err(|why| unreachable(format!("Its name could not be looked up: {why}.")))?,
                    Source::Tenant,
                )
            }
        };
        let allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut refused = "";
        let may = |address: &IpAddr| match refusal(*address, source, &allowed) {
            None => true,
            Some(why) => {
                refused = why;
                false
            }
        };
        let kept: Vec<IpAddr> = found.iter().copied().filter(may).collect();
        if kept.is_empty() {
            // The address itself stays inside: a visitor is not told what a name means in the cluster.
            let detail =
                format!("Its address is {refused}. spec.targets.allowedCIDRs of the Fleet would have to name it.");
            return Err(Fault::new(&codes::TARGET_NOT_ALLOWED, detail).before_sending());
        }
        Ok(kept)
    }
}

/// One after the other, in the resolver's order: the first that answers.
async fn connect(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Fault> {
    let mut last = "It has no address.".to_owned();
    for address in addresses {
        match timeout(
            limits::CONNECT_TIMEOUT,
            TcpStream::connect(SocketAddr::new(*address, port)),
        )
        .await
        {
            Ok(Ok(socket)) => {
                // Requests are written whole; waiting for more to send would only delay them.
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Ok(Err(why)) => last = format!("The target could not be reached: {}.", why.kind()),
            Err(_) => last = format!("The target did not answer within {:?}.", limits::CONNECT_TIMEOUT),
        }
    }
    Err(unreachable(last))
}

async fn handshake(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    socket: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Fault> {
    match timeout(
        limits::CONNECT_TIMEOUT,
        TlsConnector::from(config).connect(name, socket),
    )
    .await
    {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(why)) => Err(unreachable(format!("TLS to the target failed: {why}."))),
        Err(_) => Err(unreachable("TLS to the target took too long.".to_owned())),
    }
}

fn unreachable(detail: String) -> Fault {
    Fault::new(&codes::APP_REFUSED, detail).before_sending()
}

#[cfg(test)]
mod tests;
