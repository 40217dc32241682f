//! A link over TLS on TCP, at the exit node's port for visitors; through an HTTP proxy if the network wants one.

use std::sync::Arc;

use hawse_proto::core::{LinkUp, Transport};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::proxy::Proxy;
use crate::fault::{DialFault, Dialled};
use crate::hub::{Connected, Side};
use crate::socket;
use crate::tls::{self, Trust};
use crate::transport::{Connection, tcp};

/// Connects until the exit node has accepted our certificate. Cancel safe: the connection is dropped.
pub(super) async fn connect(
    ticket: u64,
    dialled: &Dialled,
    trust: &Trust,
    proxy: Option<&Proxy>,
) -> Result<Connected, DialFault> {
    let began = Instant::now();
    let (stream, remote) = reach(dialled, proxy).await?;
    let round_trip = began.elapsed();
    let stream = handshake(stream, dialled, trust).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let up = LinkUp {
        remote,
        transport: Transport::Tcp.into(),
        ..super::link_up(ticket, dialled, trust, chain)
    };
    // In TLS 1.3 we are done before the exit node has looked at our certificate: its first request says that it took it.
    let opened = tcp::Connection::server(stream, round_trip).await;
    let (connection, control) = opened.map_err(|why| match why.get_io() {
        Some(io) => dialled.io_fault(io),
        None => dialled.unreachable(why),
    })?;
    Ok(Connected {
        connection: Connection::Tcp(connection),
        control,
        up,
        side: Side::Dialled(None),
    })
}

/// A TCP connection to the exit node, and its address.
async fn reach(dialled: &Dialled, proxy: Option<&Proxy>) -> Result<(TcpStream, String), DialFault> {
    if let Some(proxy) = proxy {
        return Ok((proxy.connect(&dialled.address).await?, dialled.address.clone()));
    }
    let stream = TcpStream::connect(&dialled.address).await;
    let stream = stream.map_err(|why| dialled.unreachable(why))?;
    socket::tune(&stream);
    let peer = stream.peer_addr().map_err(|why| dialled.unreachable(why))?;
    Ok((stream, peer.to_string()))
}

async fn handshake(stream: TcpStream, dialled: &Dialled, trust: &Trust) -> Result<TlsStream<TcpStream>, DialFault> {
    let name = ServerName::try_from(dialled.server_name.clone()).map_err(|_| dialled.bad_name())?;
    let config = tls::client_config(trust, &dialled.alpn)?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = connecting.await.map_err(|why| dialled.io_fault(&why))?;
    if stream.get_ref().1.alpn_protocol() != Some(dialled.alpn.as_bytes()) {
        return Err(dialled.other_protocol());
    }
    Ok(stream)
}
