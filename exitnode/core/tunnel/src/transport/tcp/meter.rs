//! Counts what passes on a connection: a link that says nothing is asked whether it lives (probe.rs).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::HEARD_BYTES;

#[derive(Debug)]
pub(super) struct Meter<T> {
    inner: T,
    count: Arc<Count>,
}

/// Bytes so far.
#[derive(Debug, Default)]
pub(super) struct Count {
    received: AtomicU64,
    /// Taken by the socket.
    sent: AtomicU64,
}

impl Count {
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Grows with what the peer says or takes: TCP's acknowledgements are not ours to see, but a socket that takes more than
    /// little has got some. Otherwise who sends much on a slow line would seem to hear nothing.
    pub(super) fn heard(&self) -> u64 {
        self.received.load(Relaxed) + self.sent() / HEARD_BYTES
    }
}

impl<T> Meter<T> {
    pub(super) fn new(inner: T) -> (Self, Arc<Count>) {
        let count = Arc::<Count>::default();
        let counted = count.clone();
        (Self { inner, count }, counted)
    }

    fn sent(&self, size: usize) {
        self.count.sent.fetch_add(size as u64, Relaxed);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Meter<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        self.count
            .received
            .fetch_add((buf.filled().len() - before) as u64, Relaxed);
        Poll::Ready(outcome)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Meter<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = ready!(Pin::new(&mut self.inner).poll_write(cx, buf));
        Poll::Ready(outcome.inspect(|size| self.sent(*size)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs));
        Poll::Ready(outcome.inspect(|size| self.sent(*size)))
    }
}
