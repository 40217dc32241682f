//! Joins the two halves that do not know each other: the edge's streams come from the tunnel's links.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hawse_edge::{AppStream, DialError, Dialer, Path};
use hawse_tunnel::{OpenError, Tunnel};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Opens streams on the links of a process.
#[derive(Debug, Clone)]
pub struct LinkDialer(pub Arc<Tunnel>);

impl Dialer for LinkDialer {
    type Stream = LinkStream;

    async fn open(&self, tunnel_uid: &str, visitor: SocketAddr) -> Result<LinkStream, DialError> {
        match self.0.open(tunnel_uid, visitor).await {
            Ok(stream) => Ok(LinkStream(stream)),
            Err(OpenError::NoAgent) => Err(DialError::NoAgent),
            Err(OpenError::LinkLost(why)) => Err(DialError::LinkLost(why)),
        }
    }

    fn last_seen(&self, tunnel_uid: &str) -> Option<Duration> {
        self.0.last_seen(tunnel_uid)
    }
}

/// A stream of a link, as the edge wants it.
#[derive(Debug)]
pub struct LinkStream(hawse_tunnel::AppStream);

impl AppStream for LinkStream {
    fn reset_code(&self) -> Option<u32> {
        self.0.reset_code()
    }

    fn path(&self) -> Arc<dyn Path> {
        Arc::new(LinkPath(self.0.path().clone()))
    }
}

#[derive(Debug)]
struct LinkPath(hawse_tunnel::Path);

impl Path for LinkPath {
    fn is_current(&self) -> bool {
        self.0.is_current()
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
