//! HTTP/3 visitors: a client by h3 and h3-quinn, and raw streams with frames made by hand.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use http::{HeaderMap, Request, response::Parts};
use quinn::crypto::rustls::QuicClientConfig;
use tokio::{net::UdpSocket, task::JoinSet};

use super::{HOST, Scene, soon};

/// Frame types.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
/// Close and reset codes (RFC 9114, 8.1; RFC 9204, 6).
pub const EXCESSIVE_LOAD: u64 = 0x107;
pub const FRAME_UNEXPECTED: u64 = 0x105;
pub const MESSAGE_ERROR: u64 = 0x10e;
pub const REQUEST_CANCELLED: u32 = 0x10c;
pub const NO_ERROR: u64 = 0x100;

/// One connection with h3's client on it.
pub struct Visitor3 {
    pub quic: quinn::Connection,
    pub requests: SendRequest<h3_quinn::OpenStreams, Bytes>,
    _driver: JoinSet<()>,
}

/// See [`Scene::relay`].
pub struct Relay {
    pub address: SocketAddr,
    /// True: what the edge sends reaches nobody.
    pub deaf: Arc<AtomicBool>,
    _task: JoinSet<()>,
}

/// An answer read to its end.
#[derive(Debug)]
pub struct Answer {
    pub head: Parts,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    pub fn code(&self) -> &str {
        let code = self.head.headers.get("x-hawse-error");
        code.map_or("", |code| code.to_str().unwrap())
    }
}

impl Scene {
    /// TLS 1.3 as a visitor speaks it.
    pub fn tls_config(&self, alpn: &[&str]) -> rustls::ClientConfig {
        let mut tls =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_root_certificates(self.roots.clone())
                .with_no_client_auth();
        tls.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        tls
    }

    pub fn quic_config(&self, transport: quinn::TransportConfig) -> quinn::ClientConfig {
        let tls = QuicClientConfig::try_from(self.tls_config(&["h3"])).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(transport));
        config
    }

    /// A QUIC connection, or why there is none.
    pub async fn try_quic(
        &self,
        transport: quinn::TransportConfig,
    ) -> Result<quinn::Connection, quinn::ConnectionError> {
        let config = self.quic_config(transport);
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        soon(endpoint.connect_with(config, self.addr, HOST).unwrap()).await
    }

    pub async fn quic(&self) -> quinn::Connection {
        self.try_quic(quinn::TransportConfig::default()).await.unwrap()
    }

    pub async fn h3(&self) -> Visitor3 {
        let quic = self.quic().await;
        let (mut driver, requests) = soon(h3::client::new(h3_quinn::Connection::new(quic.clone())))
            .await
            .unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = std::future::poll_fn(|cx| driver.poll_close(cx)).await;
        });
        Visitor3 {
            quic,
            requests,
            _driver: tasks,
        }
    }

    /// A socket from which nothing but forged or broken packets comes.
    pub async fn udp(&self) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(self.addr).await?;
        Ok(socket)
    }

    /// Stands between the visitors of one socket and the edge.
    pub async fn relay(&self) -> Relay {
        let (inside, outside) = (self.udp().await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = outside.local_addr().unwrap();
        let deaf = Arc::new(AtomicBool::new(false));
        let is_deaf = deaf.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (mut up, mut down, mut visitor) = ([0; 2000], [0; 2000], None);
            loop {
                tokio::select! {
                    Ok((size, from)) = outside.recv_from(&mut up) => {
                        visitor = Some(from);
                        let _ = inside.send(&up[..size]).await;
                    }
                    Ok(size) = inside.recv(&mut down) => {
                        if let (false, Some(to)) = (is_deaf.load(Relaxed), visitor) {
                            let _ = outside.send_to(&down[..size], to).await;
                        }
                    }
                }
            }
        });
        Relay {
            address,
            deaf,
            _task: task,
        }
    }
}

impl Visitor3 {
    /// Sends a request with its body and reads the answer.
    pub async fn ask(&self, request: Request<Bytes>) -> Result<Answer, h3::error::StreamError> {
        let (head, body) = request.into_parts();
        let mut stream = soon(self.requests.clone().send_request(Request::from_parts(head, ()))).await?;
        if !body.is_empty() {
            soon(stream.send_data(body)).await?;
        }
        soon(stream.finish()).await?;
        let head = soon(stream.recv_response()).await?.into_parts().0;
        let body = whole_body(&mut stream).await?;
        let trailers = soon(stream.recv_trailers()).await?;
        Ok(Answer { head, body, trailers })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(super::request("GET", path).body(Bytes::new()).unwrap())
            .await
            .unwrap()
    }
}

/// What is left of an answer's body.
pub async fn whole_body<S: h3::quic::RecvStream>(
    stream: &mut RequestStream<S, Bytes>,
) -> Result<Vec<u8>, h3::error::StreamError> {
    let mut body = Vec::new();
    while let Some(mut data) = soon(stream.recv_data()).await? {
        body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    Ok(body)
}

/// A frame with a length below 64 KiB.
pub fn h3_frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap() | 0x8000_0000;
    [&[kind], &length.to_be_bytes()[..], payload].concat()
}

/// A field section, every name and value written out.
pub fn h3_fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0, 0];
    for (name, value) in fields {
        let rest = name.len().checked_sub(7);
        match rest {
            Some(rest) => out.extend([0x27, u8::try_from(rest).unwrap()]),
            None => out.push(0x20 | u8::try_from(name.len()).unwrap()),
        }
        out.extend_from_slice(name.as_bytes());
        let length = u16::try_from(value.len()).unwrap();
        if length < 127 {
            out.push(u8::try_from(length).unwrap());
        } else {
            let rest = length - 127;
            out.extend([
                127,
                u8::try_from(rest & 127).unwrap() | 128,
                u8::try_from(rest >> 7).unwrap(),
            ]);
        }
        out.extend_from_slice(value.as_bytes());
    }
    out
}

/// The head of a GET with more fields.
pub fn h3_head(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let first = [
        (":method", method),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/"),
    ];
    h3_frame(HEADERS, &h3_fields(&[&first, more].concat()))
}

/// How a connection ended: the code that the edge closed it with.
pub async fn closed_with(quic: &quinn::Connection) -> u64 {
    match soon(quic.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("closed by {other}"),
    }
}

/// Sends raw bytes as one request and reads what comes: all bytes, or the code of the reset.
pub async fn raw_request(quic: &quinn::Connection, bytes: &[u8]) -> Result<Vec<u8>, u64> {
    let (mut send, mut recv) = soon(quic.open_bi()).await.unwrap();
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    match soon(recv.read_to_end(1 << 20)).await {
        Ok(bytes) => Ok(bytes),
        Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => Err(code.into_inner()),
        Err(other) => panic!("{other}"),
    }
}
