//! One edge on loopback with its tunnel, certificate and app, and the connections that a visitor opens to it.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use hawse_edge::Edge;
use hawse_proto::{core, ir};
use http_body_util::combinators::BoxBody;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Dial, DialerState, HOST, Reply, TcpDialer, frame, no_body, read_reply, soon};

/// One running edge with one app.
pub struct Scene {
    pub edge: Edge<TcpDialer>,
    pub addr: SocketAddr,
    pub roots: Arc<rustls::RootCertStore>,
    dialer: TcpDialer,
    drain: watch::Sender<Option<Instant>>,
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
            moves: Arc::default(),
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
        let (drain, deadline) = watch::channel(None);
        let served = tokio::spawn(listening.run(deadline));
        Self {
            edge,
            addr,
            roots: Arc::new(roots),
            dialer,
            drain,
            served,
            app,
        }
    }

    /// Tells the edge to let its visitors go within `grace`.
    pub fn drain(&self, grace: Duration) {
        self.drain.send_replace(Some(Instant::now() + grace));
    }

    pub fn dial(&self, how: Dial) {
        *self.dialer.0.how.lock().unwrap() = how;
    }

    /// The agent is on another link from now on: streams that are open run over the one that it left.
    pub fn move_agent(&self) {
        self.dialer.0.moves.fetch_add(1, Relaxed);
    }

    /// Where the app listens.
    pub fn app_addr(&self) -> SocketAddr {
        self.dialer.0.app
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
        let tcp = TcpStream::connect(self.addr).await?;
        tcp.set_nodelay(true)?;
        self.tls_over(tcp, sni, alpn).await
    }

    /// The handshake alone.
    pub async fn tls_over(&self, tcp: TcpStream, sni: &str, alpn: &[&str]) -> io::Result<TlsStream<TcpStream>> {
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(self.roots.clone())
                .with_no_client_auth();
        let mut config = config;
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
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
