//! The UDP side of a listener: QUIC with its bounds, and who is let in.
//!
//! Places under the caps are shared with TCP. Connections may migrate (phones change networks); caps and X-Forwarded-For keep
//! the address of the first packet, which the handshake proves.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::{HandshakeData, QuicServerConfig},
};
use socket2::{Domain, Protocol as IpProtocol, Socket, Type};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use super::connection;
use crate::{
    caps::{Caps, Place},
    front::Front,
    limits::{self, Limits},
    tasks::Tasks,
    visit::{Connection, Protocol},
};

/// A bound UDP socket. Visitors are let in once [`Entrance::run`] is awaited.
pub(crate) struct Entrance {
    endpoint: Endpoint,
}

impl Entrance {
    /// Must be called within the runtime. `tls` offers ALPN h3 alone.
    pub(crate) fn bind(address: SocketAddr, tls: Arc<rustls::ServerConfig>, limits: &Limits) -> io::Result<Self> {
        let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(Arc::new(transport(limits)))
            .max_incoming(limits::H3_HANDSHAKES)
            .incoming_buffer_size(limits::H3_INCOMING_BYTES)
            .incoming_buffer_size_total(limits::H3_INCOMING_TOTAL_BYTES);
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            Some(config),
            socket(address)?,
            Arc::new(TokioRuntime),
        )?;
        Ok(Self { endpoint })
    }

    /// Lets visitors in until `drain` turns true, then refuses them until it is stopped. Their connections are among `tasks`.
    /// Not cancel safe: dropping it ends every connection at once.
    pub(crate) async fn run(self, front: Arc<Front>, caps: Arc<Caps>, tasks: Tasks, drain: watch::Receiver<bool>) {
        let handshakes = Arc::new(Semaphore::new(limits::H3_HANDSHAKES));
        let mut stopping = drain.clone();
        loop {
            let incoming = tokio::select! {
                biased;
                _ = stopping.wait_for(|draining| *draining) => break,
                incoming = self.endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else { break };
            if let Some((incoming, place, permit)) = admit(incoming, &caps, &handshakes) {
                tasks.spawn(welcome(front.clone(), incoming, place, permit, drain.clone()));
            }
        }
        drop((stopping, drain)); // the listener waits for those who hold one
        while let Some(incoming) = self.endpoint.accept().await {
            incoming.refuse();
        }
    }
}

/// Refuses past the caps; asks addresses to prove themselves (Retry) while many handshakes run.
fn admit(
    incoming: Incoming,
    caps: &Arc<Caps>,
    handshakes: &Arc<Semaphore>,
) -> Option<(Incoming, Place, OwnedSemaphorePermit)> {
    let running = limits::H3_HANDSHAKES - handshakes.available_permits();
    if running >= limits::H3_RETRY_ABOVE && !incoming.remote_address_validated() {
        // An error says that it has proved itself meanwhile; then its packets come again.
        let _ = incoming.retry();
        return None;
    }
    let place = caps.enter(incoming.remote_address().ip());
    let permit = handshakes.clone().try_acquire_owned().ok();
    match (place, permit) {
        (Some(place), Some(permit)) => Some((incoming, place, permit)),
        _ => {
            incoming.refuse();
            None
        }
    }
}

/// From the first packet to the end of the connection.
async fn welcome(
    front: Arc<Front>,
    incoming: Incoming,
    place: Place,
    permit: OwnedSemaphorePermit,
    drain: watch::Receiver<bool>,
) {
    let handshake = async { incoming.accept().ok()?.await.ok() };
    let established = timeout(front.limits.handshake_timeout, handshake).await.ok().flatten();
    drop(permit);
    let known = established.and_then(|quic| Some((identify(&front, &quic, place)?, quic)));
    let Some((connection, quic)) = known else {
        front.shared.totals.handshakes_failed.fetch_add(1, Relaxed);
        return;
    };
    Box::pin(connection::serve(front, quic, connection, drain)).await;
}

/// What the handshake said. `None`: there is no certificate for the name, any more.
fn identify(front: &Front, quic: &quinn::Connection, place: Place) -> Option<Arc<Connection>> {
    let data = quic.handshake_data()?.downcast::<HandshakeData>().ok()?;
    let sni = data
        .server_name
        .map(|name| name.trim_end_matches('.').to_ascii_lowercase());
    let certificate = front.shared.certificate(sni.as_deref())?;
    let from = (quic.remote_address(), place);
    let trusted = front.shared.proxies.around(from.0.ip());
    Some(Connection::new(from, Protocol::Http3, sni, (certificate, trusted)))
}

fn transport(limits: &Limits) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(limits.streams.into())
        .max_concurrent_uni_streams(limits::H3_UNI_STREAMS.into())
        .stream_receive_window(limits::H3_STREAM_WINDOW_BYTES.into())
        .receive_window(limits::H3_CONNECTION_WINDOW_BYTES.into())
        .send_window(limits::H3_SEND_WINDOW_BYTES)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(limits::H3_SILENCE_MS))))
        .keep_alive_interval(Some(limits::H3_PING_INTERVAL))
        .crypto_buffer_size(limits::H3_CRYPTO_BYTES)
        .datagram_receive_buffer_size(None);
    transport
}

fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(IpProtocol::UDP))?;
    // Best effort: an ordinary user may get less (net.core.rmem_max), which costs speed only.
    let _ = socket.set_recv_buffer_size(limits::H3_SOCKET_BYTES);
    let _ = socket.set_send_buffer_size(limits::H3_SOCKET_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
