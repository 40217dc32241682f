//! An agent that came over QUIC.

use hawse_proto::codes::{self, Code};
use hawse_proto::core::{LinkUp, Transport};
use quinn::Incoming;
use tokio::time::timeout;

use super::{Host, Place, Proved, refuse};
use crate::hub::{Connected, Side};
use crate::limits::{CONTROL_TIMEOUT, HANDSHAKE_TIMEOUT};
use crate::tls::peer_chain;
use crate::transport::Connection;

/// From the first packet to the end of the link. Not cancel safe: dropping it ends the link.
pub(super) fn welcome(host: Host, incoming: Incoming, place: Place) -> impl Future<Output = ()> + Send + 'static {
    // On the heap: it is over soon, and the link's task need not keep room for it.
    let connecting = Box::pin(connect(host.clone(), incoming, place));
    async move {
        if let Some((_place, connected)) = connecting.await {
            host.run(connected).await;
        }
    }
}

/// Up to the control stream; `None`: it was refused, or gave up.
async fn connect(host: Host, incoming: Incoming, mut place: Place) -> Option<(Place, Connected)> {
    let Some(quic) = handshake(incoming).await else {
        host.handshake_failed();
        return None;
    };
    let identified = identify(&host, &quic);
    let connection = Connection::Quic(quic);
    let accepted = match place.enter(identified) {
        Ok(up) => {
            let control = timeout(CONTROL_TIMEOUT, connection.accept()).await.ok().flatten();
            control.map(|control| (up, control)).ok_or(codes::BAD_FRAME)
        }
        Err(refusal) => Err(refusal),
    };
    match accepted {
        Ok((up, control)) => {
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
            None
        }
    }
}

async fn handshake(incoming: Incoming) -> Option<quinn::Connection> {
    let connecting = incoming.accept().ok()?;
    timeout(HANDSHAKE_TIMEOUT, connecting).await.ok()?.ok()
}

fn identify(host: &Host, quic: &quinn::Connection) -> Result<LinkUp, Code> {
    let (alpn, chain) = (alpn(quic), peer_chain(quic));
    host.identify(Proved {
        alpn: &alpn,
        leaf: chain.first(),
        remote: quic.remote_address(),
        transport: Transport::Quic,
    })
}

fn alpn(connection: &quinn::Connection) -> Vec<u8> {
    let data = connection
        .handshake_data()
        .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
    data.and_then(|data| data.protocol).unwrap_or_default()
}
