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

use crate::staleness::Staleness;

/// Opens streams on the links of a process, unless it has been without its operator for too long.
#[derive(Debug, Clone)]
pub struct LinkDialer {
    tunnel: Arc<Tunnel>,
    staleness: Arc<Staleness>,
}

impl LinkDialer {
    /// Of these links.
    pub fn new(tunnel: Arc<Tunnel>, staleness: Arc<Staleness>) -> Self {
        Self { tunnel, staleness }
    }
}

impl Dialer for LinkDialer {
    type Stream = LinkStream;

    async fn open(&self, tunnel_uid: &str, visitor: SocketAddr) -> Result<LinkStream, DialError> {
        if let Some(why) = self.staleness.reason() {
            return Err(DialError::ConfigurationTooOld(why));
        }
        match self.tunnel.open(tunnel_uid, visitor).await {
            Ok(stream) => Ok(LinkStream {
                stream,
                staleness: self.staleness.clone(),
            }),
            Err(OpenError::NoAgent) => Err(DialError::NoAgent),
            Err(OpenError::LinkLost(why)) => Err(DialError::LinkLost(why)),
        }
    }

    fn last_seen(&self, tunnel_uid: &str) -> Option<Duration> {
        self.tunnel.last_seen(tunnel_uid)
    }
}

/// A stream of a link, as the edge wants it.
#[derive(Debug)]
pub struct LinkStream {
    stream: hawse_tunnel::AppStream,
    staleness: Arc<Staleness>,
}

impl AppStream for LinkStream {
    fn reset_code(&self) -> Option<u32> {
        self.stream.reset_code()
    }

    fn path(&self) -> Arc<dyn Path> {
        Arc::new(LinkPath {
            path: self.stream.path().clone(),
            staleness: self.staleness.clone(),
        })
    }
}

#[derive(Debug)]
struct LinkPath {
    path: hawse_tunnel::Path,
    staleness: Arc<Staleness>,
}

impl Path for LinkPath {
    fn is_current(&self) -> bool {
        !self.staleness.is_stale() && self.path.is_current()
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
