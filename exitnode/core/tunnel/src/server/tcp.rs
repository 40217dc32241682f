//! An agent that came over TCP: the edge has read its ClientHello and handed the rest of the handshake over.

use std::sync::Arc;

use hawse_proto::codes;
use hawse_proto::core::Transport;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::{AgentHandshake, Host, Place, Proved, refuse};
use crate::admission::Phase;
use crate::hub::{Connected, Side};
use crate::limits::{CONTROL_TIMEOUT, HANDSHAKE_TIMEOUT};
use crate::transport::{Connection, tcp};
use crate::{socket, tls};

/// From the ClientHello to the end of the link. Not cancel safe: dropping it ends the link.
pub(super) async fn welcome(
    host: Host,
    (handshake, remote): AgentHandshake,
    config: Arc<rustls::ServerConfig>,
    mut place: Place,
) {
    socket::tune(&handshake.io);
    let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, handshake.into_stream(config)).await else {
        return host.handshake_failed();
    };
    let session = stream.get_ref().1;
    let identified = host.identify(Proved {
        alpn: session.alpn_protocol().unwrap_or_default(),
        leaf: session.peer_certificates().and_then(<[_]>::first),
        remote,
        transport: Transport::Tcp,
    });
    let room = identified.and_then(|up| {
        let promoted = place.promote(Phase::of(up.alpn == tls::ALPN_ENROL));
        promoted.then_some(up).ok_or(codes::OVERLOADED)
    });
    // A refusal goes out on the control stream too.
    let Some((connection, control)) = open(stream).await else {
        return host.handshake_failed();
    };
    let connection = Connection::Tcp(connection);
    let side = Side::ExitNode;
    match room {
        Ok(up) => {
            host.run(Connected {
                connection,
                control,
                up,
                side,
            })
            .await;
        }
        Err(refusal) => {
            refuse(&connection, &refusal);
            connection.settled().await;
        }
    }
}

async fn open(stream: TlsStream<TcpStream>) -> Option<(tcp::Connection, tcp::Control)> {
    let opening = Box::pin(tcp::Connection::client(stream));
    timeout(CONTROL_TIMEOUT, opening).await.ok()?.ok()
}
