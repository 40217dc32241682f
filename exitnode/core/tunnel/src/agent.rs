//! The agent's end of streams: each one becomes a TCP connection to the app.
//!
//! A stream that cannot be served is reset with the number of a HAWSE code; on success nothing is said, which saves a
//! round trip. accept.rs has read what the stream is for. Called by hub.rs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hawse_proto::codes::{self, Code};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::accept::{self, Accepted};
use crate::limits::CONNECT_TIMEOUT;
use crate::link::Link;
use crate::splice;

/// Serves the streams of a link until it is over, and then waits for the last of them (they end with the link).
/// Not cancel safe: dropping it cuts every stream off.
pub(crate) async fn serve_streams(link: &Arc<Link>) {
    let agent = link.clone();
    let mut left = accept::serve_streams(link, move |accepted| serve(agent.clone(), accepted)).await;
    while left.join_next().await.is_some() {}
}

async fn serve(link: Arc<Link>, accepted: Accepted) {
    let Accepted {
        open,
        mut send,
        mut recv,
        rest,
    } = accepted;
    match connect(&link, &open.tunnel_uid).await {
        Ok(app) => splice::run((send, recv), app, rest, &link.counters).await,
        Err(code) => accept::refuse(&mut send, &mut recv, code.number),
    }
}

/// Connects to the app of a tunnel.
async fn connect(link: &Link, tunnel_uid: &str) -> Result<TcpStream, Code> {
    let (host, port) = link.app(tunnel_uid).ok_or(codes::NO_AGENT)?;
    match timeout(CONNECT_TIMEOUT, dial_app(&host, port)).await {
        Ok(Ok(app)) => Ok(app),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(codes::APP_TIMED_OUT),
        Ok(Err(_)) => Err(codes::APP_REFUSED),
        Err(_) => Err(codes::APP_TIMED_OUT),
    }
}

/// Cancel safe: a connection half made is dropped.
async fn dial_app(host: &str, port: u16) -> io::Result<TcpStream> {
    let app = if host.eq_ignore_ascii_case("localhost") {
        // RFC 6761, and no resolver thread for each stream; development servers listen on either of the two.
        let both = [
            (IpAddr::from(Ipv4Addr::LOCALHOST), port).into(),
            (IpAddr::from(Ipv6Addr::LOCALHOST), port).into(),
        ];
        TcpStream::connect::<&[SocketAddr]>(&both).await?
    } else {
        TcpStream::connect((host, port)).await?
    };
    app.set_nodelay(true)?;
    Ok(app)
}
