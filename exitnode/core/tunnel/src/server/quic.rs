//! An agent that came over QUIC.

use hawse_proto::codes;
use hawse_proto::core::Transport;
use quinn::Incoming;
use tokio::time::timeout;

use super::{Host, Place, Proved, refuse};
use crate::admission::Phase;
use crate::hub::{Connected, Side};
use crate::limits::{CONTROL_TIMEOUT, HANDSHAKE_TIMEOUT};
use crate::tls::{self, peer_chain};
use crate::transport::Connection;

/// From the first packet to the end of the link. Not cancel safe: dropping it ends the link.
pub(super) async fn welcome(host: Host, incoming: Incoming, mut place: Place) {
    let Some(quic) = handshake(incoming).await else {
        return host.handshake_failed();
    };
    let (alpn, chain) = (alpn(&quic), peer_chain(&quic));
    let identified = host.identify(Proved {
        alpn: &alpn,
        leaf: chain.first(),
        remote: quic.remote_address(),
        transport: Transport::Quic,
    });
    let connection = Connection::Quic(quic);
    let up = match identified {
        Ok(up) => up,
        Err(refusal) => return refuse(&connection, &refusal),
    };
    if !place.promote(Phase::of(up.alpn == tls::ALPN_ENROL)) {
        return refuse(&connection, &codes::OVERLOADED);
    }
    let Ok(Some(control)) = timeout(CONTROL_TIMEOUT, connection.accept()).await else {
        return refuse(&connection, &codes::BAD_FRAME);
    };
    let side = Side::ExitNode;
    host.run(Connected {
        connection,
        control,
        up,
        side,
    })
    .await;
}

async fn handshake(incoming: Incoming) -> Option<quinn::Connection> {
    let connecting = incoming.accept().ok()?;
    timeout(HANDSHAKE_TIMEOUT, connecting).await.ok()?.ok()
}

fn alpn(connection: &quinn::Connection) -> Vec<u8> {
    let data = connection
        .handshake_data()
        .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
    data.and_then(|data| data.protocol).unwrap_or_default()
}
