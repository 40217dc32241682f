//! A stream to the app that remembers how it ended, so that the page can name the failing hop.
//!
//! hyper says that a connection broke, not why; the HAWSE code of the agent's reset is known to the stream alone.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::dial::AppStream;

/// What is known of a stream from outside of hyper.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    reset_code: AtomicU32,
    broken: AtomicBool,
    ended: AtomicBool,
    received: AtomicBool,
    unread: AtomicBool,
}

impl Fate {
    /// The HAWSE number of the agent's reset.
    pub(crate) fn reset_code(&self) -> Option<u32> {
        Some(self.reset_code.load(Relaxed)).filter(|code| *code != 0)
    }

    /// A read or write failed: the link, not the app.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// The app closed its side.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// The app did not read the request's body, and the connection was given up.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// See [`Fate::is_unread`].
    pub(crate) fn give_up(&self) {
        self.unread.store(true, Relaxed);
    }

    /// Forgets that bytes came: called before a request is sent, asked after it failed.
    pub(crate) fn expect_answer(&self) {
        self.received.store(false, Relaxed);
    }

    /// The app has said something since [`Fate::expect_answer`].
    pub(crate) fn has_received(&self) -> bool {
        self.received.load(Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn with(reset: u32, broken: bool, ended: bool) -> Self {
        Self {
            reset_code: reset.into(),
            broken: broken.into(),
            ended: ended.into(),
            received: false.into(),
            unread: false.into(),
        }
    }

    fn failed(&self, stream: &impl AppStream) {
        self.reset_code.store(stream.reset_code().unwrap_or(0), Relaxed);
        let what = if stream.is_direct() { &self.ended } else { &self.broken };
        what.store(true, Relaxed);
    }
}

/// Passes bytes through and notes the stream's fate.
#[derive(Debug)]
pub(crate) struct Tracked<S> {
    inner: S,
    fate: Arc<Fate>,
}

impl<S: AppStream> Tracked<S> {
    pub(crate) fn new(inner: S, fate: Arc<Fate>) -> Self {
        Self { inner, fate }
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.fate.failed(&self.inner);
        }
        result
    }
}

impl<S: AppStream> AsyncRead for Tracked<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut me.inner).poll_read(cx, buf));
        if result.is_ok() {
            let what = if buf.filled().len() > before {
                &me.fate.received
            } else {
                &me.fate.ended
            };
            what.store(true, Relaxed);
        }
        Poll::Ready(me.note(result))
    }
}

impl<S: AppStream> AsyncWrite for Tracked<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let result = ready!(Pin::new(&mut me.inner).poll_write(cx, buf));
        Poll::Ready(me.note(result))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let result = ready!(Pin::new(&mut me.inner).poll_flush(cx));
        Poll::Ready(me.note(result))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let result = ready!(Pin::new(&mut me.inner).poll_write_vectored(cx, bufs));
        Poll::Ready(me.note(result))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
