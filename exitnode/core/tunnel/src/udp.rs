//! The UDP socket of links on Linux. Unlike quinn's own it wakes the process for nothing but datagrams that arrive.
//!
//! tokio has its sockets watched for reading and writing, and the kernel calls a UDP socket writable whenever a datagram has
//! left it: each one sent cost a wake-up of its own, a fifth of all at one request at a time. It was also asked for more after
//! each that came. Called by batches.rs.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use quinn::udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// See the module.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Watched for reading alone.
    io: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    /// The kernel took a datagram not: who sends next has to wait.
    full: AtomicBool,
}

impl Socket {
    /// Must be called within the runtime.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        Ok(Self {
            state: UdpSocketState::new((&socket).into())?,
            io: watch(socket, Interest::READABLE)?,
            full: AtomicBool::new(false),
        })
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room {
            socket: self,
            awaited: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.send(self.io.get_ref().into(), transmit);
        if let Err(error) = &sent
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.full.store(true, Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [io::IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut readable = ready!(self.io.poll_read_ready(cx))?;
            let received = self.state.recv(self.io.get_ref().into(), bufs, meta);
            match &received {
                // All there was: what comes later is told anew.
                Ok(count) if *count < bufs.len().min(BATCH_SIZE) => readable.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    readable.clear_ready();
                    continue;
                }
                _ => {}
            }
            return Poll::Ready(received);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe and asks for a descriptor that stays the same: a socket's does"
)]
fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}

/// One sender's wait for room in the socket.
#[derive(Debug)]
struct Room {
    socket: Arc<Socket>,
    /// The same socket, watched for writing only while there is none.
    awaited: Option<AsyncFd<UdpSocket>>,
}

impl UdpPoller for Room {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if let Some(awaited) = &me.awaited {
            let _ = ready!(awaited.poll_write_ready(cx))?;
            me.awaited = None;
            me.socket.full.store(false, Relaxed);
            return Poll::Ready(Ok(()));
        }
        if !me.socket.full.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let again = me.socket.io.get_ref().try_clone()?;
        me.awaited = Some(watch(again, Interest::WRITABLE)?);
        Pin::new(me).poll_writable(cx)
    }
}
