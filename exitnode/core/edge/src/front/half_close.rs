//! HTTP/1.1 only: a visitor that has said it will send no more (TLS close_notify) still gets its answer, for a while.
//!
//! hyper knows two ways: give the request up at the end of input (answers get lost: frp and chisel do that), or ignore it (a
//! visitor that left keeps its request alive at the app). This wrapper hides the end from hyper for `HALF_CLOSE_GRACE` while
//! a request runs. A connection that just breaks (no close_notify) is an error and gives the request up at once.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::{limits, visit::Connection};

pub(super) struct HalfClose<S> {
    inner: S,
    connection: Arc<Connection>,
    grace: Option<Pin<Box<Sleep>>>,
}

impl<S> HalfClose<S> {
    pub(super) fn new(inner: S, connection: Arc<Connection>) -> Self {
        Self {
            inner,
            connection,
            grace: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HalfClose<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if me.grace.is_none() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut me.inner).poll_read(cx, buf))?;
            if buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        if me.connection.active() == 0 || me.connection.is_upgraded() {
            return Poll::Ready(Ok(()));
        }
        let grace = me
            .grace
            .get_or_insert_with(|| Box::pin(sleep(limits::HALF_CLOSE_GRACE)));
        grace.as_mut().poll(cx).map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HalfClose<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
