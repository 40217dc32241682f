//! An agent that came over TCP: the edge has read its ClientHello and handed the rest of the handshake over.

use std::sync::Arc;

use hawse_proto::core::Transport;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::{AgentHandshake, Host, Place, Proved, refuse};
use crate::hub::{Connected, Side};
use crate::limits::{CONTROL_TIMEOUT, HANDSHAKE_TIMEOUT};
use crate::socket;
use crate::transport::{Connection, tcp};

/// From the ClientHello to the end of the link. Not cancel safe: dropping it ends the link.
pub(super) fn welcome(
    host: Host,
    agent: AgentHandshake,
    config: Arc<rustls::ServerConfig>,
    place: Place,
) -> impl Future<Output = ()> + Send + 'static {
    // On the heap, as over QUIC.
    let connecting = Box::pin(connect(host.clone(), agent, config, place));
    async move {
        if let Some((_place, connected)) = connecting.await {
            host.run(connected).await;
        }
    }
}

/// Up to the control stream; `None`: it was refused, or gave up.
async fn connect(
    host: Host,
    (handshake, remote): AgentHandshake,
    config: Arc<rustls::ServerConfig>,
    mut place: Place,
) -> Option<(Place, Connected)> {
    socket::tune(&handshake.io);
    let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, handshake.into_stream(config)).await else {
        host.handshake_failed();
        return None;
    };
    let session = stream.get_ref().1;
    let identified = host.identify(Proved {
        alpn: session.alpn_protocol().unwrap_or_default(),
        leaf: session.peer_certificates().and_then(<[_]>::first),
        remote,
        transport: Transport::Tcp,
    });
    let entered = place.enter(identified);
    // A refusal goes out on the control stream too.
    let Some((connection, control)) = open(stream).await else {
        host.handshake_failed();
        return None;
    };
    let connection = Connection::Tcp(connection);
    match entered {
        Ok(up) => {
            let side = Side::Accepted;
            let connected = Connected {
                connection,
                control,
                up,
                side,
            };
            Some((place, connected))
        }
        Err(refusal) => {
            refuse(&connection, &refusal);
            connection.settled().await;
            None
        }
    }
}

async fn open(stream: TlsStream<TcpStream>) -> Option<(tcp::Connection, tcp::Control)> {
    let opening = Box::pin(tcp::Connection::client(stream));
    timeout(CONTROL_TIMEOUT, opening).await.ok()?.ok()
}
