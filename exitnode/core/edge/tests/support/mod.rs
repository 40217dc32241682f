//! What the wire tests share: an edge on loopback, an app behind plain TCP, visitors over TLS. Nothing sleeps for effect and
//! every wait has a limit.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "each test binary uses a part of it, and tests panic"
)]

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hawse_edge::{AppStream, DialError, Dialer, Edge};
use hawse_proto::{core, ir};
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub const HOST: &str = "shop.t.example";
pub const OTHER: &str = "blog.t.example";
/// Most that any single wait of a test may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it took too long")
}

/// What a stream to the app is: TCP, or an end that the test made up.
pub struct TestStream {
    tcp: TcpStream,
    /// After this many bytes from the app the stream fails with the code (0 = no code).
    fail: Option<(usize, u32)>,
    failed: Option<u32>,
}

impl AppStream for TestStream {
    fn reset_code(&self) -> Option<u32> {
        self.failed.filter(|code| *code != 0)
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
    Never,
    /// A stream that fails after so many bytes of the app, with this code of the agent.
    Fails(usize, u32),
}

#[derive(Clone)]
pub struct TcpDialer(Arc<DialerState>);

pub struct DialerState {
    app: SocketAddr,
    how: Mutex<Dial>,
    opened: Mutex<usize>,
}

impl Dialer for TcpDialer {
    type Stream = TestStream;

    async fn open(&self, _: &str, _: SocketAddr) -> Result<TestStream, DialError> {
        let how = *self.0.how.lock().unwrap();
        let fail = match how {
            Dial::NoAgent => return Err(DialError::NoAgent),
            Dial::LinkLost => return Err(DialError::LinkLost("the connection timed out".into())),
            Dial::Never => std::future::pending().await,
            Dial::App => None,
            Dial::Fails(after, code) => Some((after, code)),
        };
        *self.0.opened.lock().unwrap() += 1;
        let tcp = TcpStream::connect(self.0.app)
            .await
            .map_err(|error| DialError::LinkLost(error.to_string()))?;
        Ok(TestStream {
            tcp,
            fail,
            failed: None,
        })
    }

    fn last_seen(&self, _: &str) -> Option<Duration> {
        Some(Duration::from_secs(14 * 60))
    }
}

/// One running edge with one app.
pub struct Scene {
    pub edge: Edge<TcpDialer>,
    pub addr: SocketAddr,
    pub roots: Arc<rustls::RootCertStore>,
    dialer: TcpDialer,
    stop: Option<oneshot::Sender<()>>,
    pub served: JoinHandle<()>,
    app: JoinHandle<()>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.served.abort();
        self.app.abort();
    }
}

pub fn tunnel(uid: &str, hostname: &str) -> ir::Tunnel {
    ir::Tunnel {
        uid: uid.into(),
        namespace: "team-a".into(),
        hostname: hostname.into(),
        target: Some(ir::tunnel::Target::Agent(ir::AgentTarget { token_uid: "t1".into() })),
        ..ir::Tunnel::default()
    }
}

pub fn object(tunnel: ir::Tunnel) -> ir::Object {
    ir::Object {
        key: format!("tunnel/{}", tunnel.uid),
        object: Some(ir::object::Object::Tunnel(tunnel)),
    }
}

impl Scene {
    /// `app` is called with each connection that the edge opens.
    pub async fn new<F>(app: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with(core::EdgeOptions::default(), tunnel("u1", HOST), app).await
    }

    pub async fn with<F>(
        options: core::EdgeOptions,
        tunnel: ir::Tunnel,
        app: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app_addr = listener.local_addr().unwrap();
        let app = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                connections.spawn(app(stream));
                while connections.try_join_next().is_some() {}
            }
        });
        let state = DialerState {
            app: app_addr,
            how: Mutex::default(),
            opened: Mutex::default(),
        };
        let dialer = TcpDialer(Arc::new(state));
        let edge = Edge::new(dialer.clone());
        let made = rcgen::generate_simple_self_signed(vec!["*.t.example".to_owned()]).unwrap();
        edge.put_certificate(
            "certificate/fleet",
            made.cert.pem().as_bytes(),
            made.signing_key.serialize_pem().as_bytes(),
        )
        .unwrap();
        edge.apply(object(tunnel)).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let options = core::EdgeOptions {
            served_by: "xn-1".into(),
            ..options
        };
        let listening = edge.bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let addr = listening.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(listening.run(async {
            let _ = stopped.await;
        }));
        Self {
            edge,
            addr,
            roots: Arc::new(roots),
            dialer,
            stop: Some(stop),
            served,
            app,
        }
    }

    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub fn dial(&self, how: Dial) {
        *self.dialer.0.how.lock().unwrap() = how;
    }

    /// Streams that the edge opened so far.
    pub fn opened(&self) -> usize {
        *self.dialer.0.opened.lock().unwrap()
    }

    pub fn snapshot(&self) -> core::Snapshot {
        let mut out = core::Snapshot::default();
        self.edge.snapshot(&mut out);
        out
    }

    pub fn counters(&self) -> core::TunnelCounters {
        self.snapshot()
            .tunnels
            .into_iter()
            .find(|tunnel| tunnel.tunnel_uid == "u1")
            .unwrap()
    }

    pub async fn tls(&self, sni: &str, alpn: &[&str]) -> io::Result<TlsStream<TcpStream>> {
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(self.roots.clone())
                .with_no_client_auth();
        let mut config = config;
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let tcp = TcpStream::connect(self.addr).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(sni.to_owned()).unwrap();
        soon(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
    }

    /// A raw HTTP/1.1 connection.
    pub async fn h1(&self) -> TlsStream<TcpStream> {
        self.tls(HOST, &["http/1.1"]).await.unwrap()
    }

    /// A raw connection after the HTTP/2 preface and an empty SETTINGS.
    pub async fn raw_h2(&self) -> TlsStream<TcpStream> {
        let mut stream = self.tls(HOST, &["h2"]).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(&frame(4, 0, 0, b"")).await.unwrap();
        stream
    }

    /// An HTTP/2 client; its driver runs until the sender is dropped.
    pub async fn h2(&self) -> http2::SendRequest<BoxBody<Bytes, io::Error>> {
        let stream = self.tls(HOST, &["h2"]).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        sender
    }

    /// The same, once it has seen what the edge supports (extended CONNECT).
    pub async fn h2_after_settings(&self) -> http2::SendRequest<BoxBody<Bytes, io::Error>> {
        let mut sender = self.h2().await;
        let ask = http::Request::get("https://nobody.t.example/").body(no_body()).unwrap();
        assert_eq!(soon(sender.send_request(ask)).await.unwrap().status(), 404);
        sender
    }

    /// Sends raw bytes on a new HTTP/1.1 connection and reads one answer.
    pub async fn ask(&self, request: &[u8]) -> Reply {
        let mut stream = self.h1().await;
        stream.write_all(request).await.unwrap();
        read_reply(&mut stream, false).await
    }
}

/// One HTTP/2 frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block without indexing or Huffman coding.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            out.push(u8::try_from(text.len()).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

pub fn get_block() -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/"),
    ])
}

/// One answer read off an HTTP/1.1 connection.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    /// The body has its full length (by Content-Length or last chunk).
    pub whole: bool,
    pub trailers: String,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn code(&self) -> &str {
        self.headers.get("x-hawse-error").map_or("", String::as_str)
    }
}

pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match soon(stream.read(&mut byte)).await {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// Reads one answer; status 0 if the connection ended before there was one.
pub async fn read_reply(stream: &mut (impl AsyncRead + Unpin), no_body: bool) -> Reply {
    let nothing = Reply {
        status: 0,
        headers: HashMap::new(),
        body: vec![],
        whole: false,
        trailers: String::new(),
    };
    let Some(mut head) = read_head(stream).await else {
        return nothing;
    };
    while head.starts_with("HTTP/1.1 100") {
        let Some(next) = read_head(stream).await else {
            return nothing;
        };
        head = next;
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers: HashMap<String, String> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut reply = Reply {
        status,
        headers,
        ..nothing
    };
    if no_body {
        reply.whole = true;
    } else if reply.headers.get("transfer-encoding").is_some_and(|te| te == "chunked") {
        read_chunks(stream, &mut reply).await;
    } else {
        let length: usize = reply
            .headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut buf = vec![0; length];
        let mut have = 0;
        while have < length {
            match soon(stream.read(&mut buf[have..])).await {
                Ok(0) | Err(_) => break,
                Ok(count) => have += count,
            }
        }
        buf.truncate(have);
        (reply.body, reply.whole) = (buf, have == length);
    }
    reply
}

async fn read_chunks(stream: &mut (impl AsyncRead + Unpin), reply: &mut Reply) {
    while let Some(line) = read_line(stream).await {
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        if size == 0 {
            while let Some(line) = read_line(stream).await {
                if line.trim().is_empty() {
                    reply.whole = true;
                    return;
                }
                reply.trailers.push_str(&line);
            }
            return;
        }
        let mut data = vec![0; size + 2];
        if soon(stream.read_exact(&mut data)).await.is_err() {
            return;
        }
        data.truncate(size);
        reply.body.extend(data);
    }
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") {
        match soon(stream.read(&mut byte)).await {
            Ok(1) => line.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(line).unwrap())
}

/// Reads HTTP/2 frames until the connection ends or `enough` says so; (kind, flags, stream, payload).
pub async fn read_frames(
    stream: &mut (impl AsyncRead + Unpin),
    enough: impl Fn(&[(u8, u8, u32, Vec<u8>)]) -> bool,
) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut header = [0; 9];
    while !enough(&frames) {
        if soon(stream.read_exact(&mut header)).await.is_err() {
            break;
        }
        let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let mut payload = vec![0; length];
        if soon(stream.read_exact(&mut payload)).await.is_err() {
            break;
        }
        let id = u32::from_be_bytes(header[5..9].try_into().unwrap());
        frames.push((header[3], header[4], id, payload));
    }
    frames
}

// === apps ===

/// Reads one request's head off a connection to the app.
pub async fn app_head(stream: &mut TcpStream) -> Option<String> {
    read_head(stream).await
}

/// Answers every request of a connection with its own head and body, in order.
pub async fn echo(mut stream: TcpStream) {
    while let Some(head) = read_head(&mut stream).await {
        let lower = head.to_ascii_lowercase();
        let field = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let mut body = Vec::new();
        if field("transfer-encoding:").is_some() {
            let mut reply = Reply {
                status: 0,
                headers: HashMap::new(),
                body: vec![],
                whole: false,
                trailers: String::new(),
            };
            read_chunks(&mut stream, &mut reply).await;
            if !reply.whole {
                return;
            }
            body = reply.body;
            body.extend(reply.trailers.bytes());
        } else if let Some(length) = field("content-length:") {
            body = vec![0; length.parse().unwrap()];
            if stream.read_exact(&mut body).await.is_err() {
                return;
            }
        }
        let text = [head.as_bytes(), &body].concat();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-app: yes\r\n\r\n",
            text.len()
        );
        let text = if head.starts_with("HEAD ") { Vec::new() } else { text };
        if stream.write_all(&[answer.as_bytes(), &text].concat()).await.is_err() {
            return;
        }
    }
}

/// Takes one request (head only) and writes these bytes, then closes.
pub fn says(bytes: &'static [u8]) -> impl Fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync {
    move |mut stream| {
        Box::pin(async move {
            if read_head(&mut stream).await.is_some() {
                let _ = stream.write_all(bytes).await;
                let _ = stream.shutdown().await;
            }
        })
    }
}

pub fn no_body() -> BoxBody<Bytes, io::Error> {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed()
}

pub fn bytes_body(bytes: impl Into<Bytes>) -> BoxBody<Bytes, io::Error> {
    http_body_util::Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A body fed by a channel.
pub struct Fed(pub tokio::sync::mpsc::Receiver<Result<http_body::Frame<Bytes>, io::Error>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = io::Error;
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
        self.get_mut().0.poll_recv(cx)
    }
}

pub fn request(method: &str, path: &str) -> http::request::Builder {
    http::Request::builder()
        .method(method)
        .uri(format!("https://{HOST}{path}"))
}
