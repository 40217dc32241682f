//! A link over QUIC.

use std::net::SocketAddr;
use std::time::Duration;

use hawse_proto::core::{LinkUp, Transport};
use quinn::{Connection, Endpoint};
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::fault::{DialFault, Dialled};
use crate::hub::{Connected, Side};
use crate::socket;
use crate::tls::{self, Trust, peer_chain};
use crate::transport::{self, RecvHalf, SendHalf};

/// How often to look whether the exit node has accepted our certificate: quinn 0.11 counts its HANDSHAKE_DONE but wakes
/// nobody for it. A round trip is rarely shorter than this on a real network.
const CONFIRMATION_STEP: Duration = Duration::from_millis(2);

/// Connects until the exit node has accepted our certificate. Cancel safe: the connection is dropped.
pub(super) async fn connect(ticket: u64, dialled: &Dialled, trust: &Trust) -> Result<Connected, DialFault> {
    let (endpoint, connection) = handshake(dialled, trust).await?;
    confirm(&connection).await.map_err(|why| dialled.fault(&why))?;
    let (send, recv) = connection.open_bi().await.map_err(|why| dialled.fault(&why))?;
    let up = LinkUp {
        remote: connection.remote_address().to_string(),
        transport: Transport::Quic.into(),
        ..super::link_up(ticket, dialled, trust, &peer_chain(&connection))
    };
    Ok(Connected {
        connection: transport::Connection::Quic(connection),
        control: (SendHalf::Quic(send), RecvHalf::Quic(recv)),
        up,
        side: Side::Dialled(Some(endpoint)),
    })
}

async fn handshake(dialled: &Dialled, trust: &Trust) -> Result<(Endpoint, Connection), DialFault> {
    let config = tls::quic_client_config(trust, &dialled.alpn)?;
    let peer = resolve(&dialled.address)
        .await
        .map_err(|why| dialled.unreachable(why))?;
    let endpoint = socket::dialling(socket::any(peer)).map_err(|why| dialled.unreachable(why))?;
    let connecting = endpoint.connect_with(config, peer, &dialled.server_name);
    let connecting = connecting.map_err(|why| match why {
        quinn::ConnectError::InvalidServerName(_) => dialled.bad_name(),
        why => dialled.unreachable(why),
    })?;
    let connection = connecting.await.map_err(|why| dialled.fault(&why))?;
    Ok((endpoint, connection))
}

async fn resolve(address: &str) -> std::io::Result<SocketAddr> {
    let unknown = || std::io::Error::other("the name has no address");
    lookup_host(address).await?.next().ok_or_else(unknown)
}

/// In TLS 1.3 the client is done before the server has looked at its certificate; only HANDSHAKE_DONE says that it was
/// accepted. Without this a refused agent would see a link that dies at once, without a reason.
async fn confirm(connection: &Connection) -> Result<(), quinn::ConnectionError> {
    while connection.stats().frame_rx.handshake_done == 0 {
        if let Ok(why) = timeout(CONFIRMATION_STEP, connection.closed()).await {
            return Err(why);
        }
    }
    Ok(())
}
