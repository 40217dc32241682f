//! Keeps idle links small: quinn gives a connection a send buffer for ten datagrams (13 kB) with the first two that it sends at
//! once, which the handshake does, and never takes it back. Here a connection sends datagram by datagram until it has had traffic.
//!
//! quinn asks the socket how many datagrams it takes in one call, from the task that drives the connection; that task knows
//! how often it has sent more than one. Used by socket.rs.

use std::cell::Cell;
use std::fmt::Debug;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};

use crate::limits::BURSTS_BEFORE_BATCHES;

tokio::task_local! {
    static SENT: Sent;
}

/// What the task of one connection has sent.
#[derive(Debug, Default)]
struct Sent {
    /// Turns of the task in which it sent more than one datagram.
    bursts: Cell<u32>,
    /// Datagrams of this turn.
    now: Cell<u32>,
}

impl Sent {
    fn may_batch(&self) -> bool {
        self.bursts.get() >= BURSTS_BEFORE_BATCHES
    }

    fn begin_turn(&self) {
        self.now.set(0);
    }

    fn note_datagram(&self) {
        self.now.set(self.now.get() + 1);
        if self.now.get() == 2 {
            self.bursts.set(self.bursts.get().saturating_add(1));
        }
    }
}

/// tokio's, but each of quinn's tasks knows what it has sent.
#[derive(Debug)]
pub(crate) struct Tasks;

impl Runtime for Tasks {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, mut task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let turns = std::future::poll_fn(move |cx| {
            SENT.with(Sent::begin_turn);
            task.as_mut().poll(cx)
        });
        TokioRuntime.spawn(Box::pin(SENT.scope(Sent::default(), turns)));
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        #[cfg(target_os = "linux")]
        let inner = Arc::new(crate::udp::Socket::new(socket)?);
        #[cfg(not(target_os = "linux"))]
        let inner = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Arc::new(Socket(inner)))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// udp.rs's (tokio's where that is not), but takes several datagrams at once only of a connection that sends many.
#[derive(Debug)]
struct Socket(Arc<dyn AsyncUdpSocket>);

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.0.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)?;
        let _ = SENT.try_with(Sent::note_datagram);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        match SENT.try_with(Sent::may_batch) {
            Ok(true) => self.0.max_transmit_segments(),
            Ok(false) | Err(_) => 1,
        }
    }

    fn max_receive_segments(&self) -> usize {
        self.0.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use crate::identity::Identity;
    use crate::testing::Ca;
    use crate::{socket, tls};

    const NAME: &str = "node.test";

    /// Datagrams that a connection has sent, and calls of the kernel for them.
    fn sent(connection: &quinn::Connection) -> (u64, u64) {
        let sent = connection.stats().udp_tx;
        (sent.datagrams, sent.ios)
    }

    async fn pair() -> (quinn::Connection, quinn::Connection, [quinn::Endpoint; 2]) {
        let ca = Ca::new("ca");
        let identity = |name| Identity::parse(ca.issue(name)).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let server = tls::server_configs(&identity(NAME)).unwrap().quic;
        let node = socket::accepting(any, quinn::EndpointConfig::default(), server).unwrap();
        let agent = socket::dialling(any).unwrap();
        let trust = tls::Trust::Identity(identity("agent"));
        let config = tls::quic_client_config(&trust, tls::ALPN_LINK).unwrap();
        let dialled = agent.connect_with(config, node.local_addr().unwrap(), NAME).unwrap();
        let accepted = async { node.accept().await.unwrap().await.unwrap() };
        let (dialled, accepted) = tokio::join!(dialled, accepted);
        (dialled.unwrap(), accepted, [agent, node])
    }

    #[tokio::test]
    async fn a_connection_sends_one_by_one_until_it_has_had_traffic() {
        let (agent, node, _endpoints) = pair().await;
        for connection in [&agent, &node] {
            let (datagrams, calls) = sent(connection);
            assert!(
                datagrams >= 2 && datagrams == calls,
                "the handshake: {datagrams} by {calls}"
            );
        }
        let (mut send, _recv) = agent.open_bi().await.unwrap();
        let read = async {
            let (_send, mut recv) = node.accept_bi().await.unwrap();
            recv.read_to_end(4 << 20).await.unwrap().len()
        };
        let written = async {
            send.write_all(&vec![7; 4 << 20]).await.unwrap();
            send.finish().unwrap();
        };
        let (read, ()) = timeout(Duration::from_secs(20), async { tokio::join!(read, written) })
            .await
            .unwrap();
        assert_eq!(read, 4 << 20);
        let (datagrams, calls) = sent(&agent);
        assert!(calls * 2 < datagrams, "{datagrams} datagrams by {calls} calls");
    }
}
