//! Streams to the app over plain TCP, and every way in which opening or reading one can fail.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use hawse_edge::{AppStream, DialError, Dialer, Path};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What a stream to the app is: TCP, or an end that the test made up.
pub struct TestStream {
    tcp: TcpStream,
    /// After this many bytes from the app the stream fails with the code (0 = no code).
    fail: Option<(usize, u32)>,
    failed: Option<u32>,
    path: Arc<TestPath>,
}

/// Current until the test says that the agent has moved.
#[derive(Debug)]
struct TestPath {
    moves: Arc<AtomicUsize>,
    opened_after: usize,
}

impl Path for TestPath {
    fn is_current(&self) -> bool {
        self.moves.load(Relaxed) == self.opened_after
    }
}

impl AppStream for TestStream {
    fn reset_code(&self) -> Option<u32> {
        self.failed.filter(|code| *code != 0)
    }

    fn path(&self) -> Arc<dyn Path> {
        self.path.clone()
    }
}

impl AsyncRead for TestStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if let Some((0, code)) = me.fail {
            me.failed = Some(code);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut me.tcp).poll_read(cx, buf))?;
        if let Some((left, _)) = &mut me.fail {
            *left = left.saturating_sub(buf.filled().len() - before);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TestStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, buf)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

/// What the dialer does for the next streams.
#[derive(Debug, Clone, Copy, Default)]
pub enum Dial {
    #[default]
    App,
    NoAgent,
    LinkLost,
    TooOld,
    Never,
    /// A stream that fails after so many bytes of the app, with this code of the agent.
    Fails(usize, u32),
}

#[derive(Clone)]
pub struct TcpDialer(pub(super) Arc<DialerState>);

pub struct DialerState {
    pub(super) app: SocketAddr,
    pub(super) how: Mutex<Dial>,
    pub(super) opened: Mutex<usize>,
    /// How often the agent has moved to another link.
    pub(super) moves: Arc<AtomicUsize>,
}

impl Dialer for TcpDialer {
    type Stream = TestStream;

    async fn open(&self, _: &str, _: SocketAddr) -> Result<TestStream, DialError> {
        let how = *self.0.how.lock().unwrap();
        let fail = match how {
            Dial::NoAgent => return Err(DialError::NoAgent),
            Dial::LinkLost => return Err(DialError::LinkLost("the connection timed out".into())),
            Dial::TooOld => return Err(DialError::ConfigurationTooOld("Not heard since noon.".into())),
            Dial::Never => std::future::pending().await,
            Dial::App => None,
            Dial::Fails(after, code) => Some((after, code)),
        };
        *self.0.opened.lock().unwrap() += 1;
        let path = TestPath {
            opened_after: self.0.moves.load(Relaxed),
            moves: self.0.moves.clone(),
        };
        let tcp = TcpStream::connect(self.0.app)
            .await
            .map_err(|error| DialError::LinkLost(error.to_string()))?;
        Ok(TestStream {
            tcp,
            fail,
            failed: None,
            path: Arc::new(path),
        })
    }

    fn last_seen(&self, _: &str) -> Option<Duration> {
        Some(Duration::from_secs(14 * 60))
    }
}
