//! A connection to an app, whoever opened it: an agent's stream, or one of our own over TCP or TLS.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::dial::{AppStream, Path};

/// See the module.
#[derive(Debug)]
pub(crate) enum Stream<S> {
    Agent(S),
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl<S> Stream<S> {
    /// Whether a connection of our own, when it is dropped, tells its app by a reset that it was cut off; an agent's stream
    /// always does.
    pub(crate) fn reset_on_drop(&self, yes: bool) {
        let socket = match self {
            Self::Agent(_) => return,
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let _ = SockRef::from(socket).set_linger(yes.then_some(Duration::ZERO));
    }
}

/// A way without an agent in it: it is as good as the connection itself.
#[derive(Debug)]
struct Always;

impl Path for Always {
    fn is_current(&self) -> bool {
        true
    }
}

impl<S: AppStream> AppStream for Stream<S> {
    fn reset_code(&self) -> Option<u32> {
        match self {
            Self::Agent(stream) => stream.reset_code(),
            Self::Plain(_) | Self::Tls(_) => None,
        }
    }

    fn path(&self) -> Arc<dyn Path> {
        match self {
            Self::Agent(stream) => stream.path(),
            Self::Plain(_) | Self::Tls(_) => Arc::new(Always),
        }
    }

    fn is_direct(&self) -> bool {
        !matches!(self, Self::Agent(_))
    }
}

/// Calls the same method of whichever it is.
macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            Stream::Agent($stream) => $call,
            Stream::Plain($stream) => $call,
            Stream::Tls($stream) => $call,
        }
    };
}

impl<S: AppStream> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl<S: AppStream> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }
}
