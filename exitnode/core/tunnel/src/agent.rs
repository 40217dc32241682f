//! The agent's end of streams: each one becomes a TCP connection to the app.
//!
//! A stream that cannot be served is reset with the number of a HAWSE code; on success nothing is said, which saves a
//! round trip. A probe is answered by ending it. How many streams there may be at once is the transport's own limit (`limits::STREAMS_PER_LINK`). Called by hub.rs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use hawse_proto::codes::{self, Code};
use hawse_proto::frames::{StreamOpen, stream_open::Kind};
use hawse_proto::limits::STREAM_OPEN_MAX_BYTES;
use hawse_proto::stream_open::{self, OpenDecoder};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::limits::{CONNECT_TIMEOUT, OPENING_TIMEOUT};
use crate::link::{Counters, Link};
use crate::splice;
use crate::transport::{RecvHalf, Stream};

/// Serves the streams of a link until it is over, and then waits for the last of them (they end with the link).
/// Not cancel safe: dropping it cuts every stream off.
pub(crate) async fn serve_streams(link: &Arc<Link>) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            accepted = link.connection.accept() => match accepted {
                Some(stream) => {
                    streams.spawn(serve(link.clone(), stream));
                }
                None => break,
            },
            Some(_) = streams.join_next() => {}
        }
    }
    while streams.join_next().await.is_some() {}
}

async fn serve(link: Arc<Link>, (mut send, mut recv): Stream) {
    let opening = timeout(OPENING_TIMEOUT, read_opening(&mut recv)).await;
    let opening = opening.unwrap_or(Err(codes::BAD_FRAME));
    if matches!(&opening, Ok((open, _)) if open.kind() == Kind::Probe) {
        send.finish(); // the whole answer
        return;
    }
    let _counted = Counted::new(link.counters.clone());
    match connect(&link, opening).await {
        Ok((app, rest)) => splice::run((send, recv), app, rest, &link.counters).await,
        Err(code) => {
            // Both directions: the exit node learns it whether it is reading or still sending.
            send.reset(code.number);
            recv.stop(code.number);
        }
    }
}

/// What a new stream is for, and what came behind that.
type Opening = Result<(StreamOpen, Bytes), Code>;

/// Connects to the app that an opening names; also what came behind the opening.
async fn connect(link: &Link, opening: Opening) -> Result<(TcpStream, Bytes), Code> {
    let (open, rest) = opening?;
    let (host, port) = link.app(&open.tunnel_uid).ok_or(codes::NO_AGENT)?;
    match timeout(CONNECT_TIMEOUT, dial_app(&host, port)).await {
        Ok(Ok(app)) => Ok((app, rest)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(codes::APP_TIMED_OUT),
        Ok(Err(_)) => Err(codes::APP_REFUSED),
        Err(_) => Err(codes::APP_TIMED_OUT),
    }
}

async fn read_opening(recv: &mut RecvHalf) -> Opening {
    let mut decoder = OpenDecoder::default();
    loop {
        let bytes = recv.read(STREAM_OPEN_MAX_BYTES).await.ok().flatten();
        let mut input = bytes.ok_or(codes::BAD_FRAME)?;
        match stream_open::next(&mut decoder, &mut input) {
            Ok(Some(open)) => return Ok((open, input)),
            Ok(None) => {}
            Err(_) => return Err(codes::BAD_FRAME),
        }
    }
}

/// Cancel safe: a connection half made is dropped.
async fn dial_app(host: &str, port: u16) -> io::Result<TcpStream> {
    let app = if host.eq_ignore_ascii_case("localhost") {
        // RFC 6761, and no resolver thread for each stream; development servers listen on either of the two.
        let both = [
            (IpAddr::from(Ipv4Addr::LOCALHOST), port).into(),
            (IpAddr::from(Ipv6Addr::LOCALHOST), port).into(),
        ];
        TcpStream::connect::<&[SocketAddr]>(&both).await?
    } else {
        TcpStream::connect((host, port)).await?
    };
    app.set_nodelay(true)?;
    Ok(app)
}

/// A stream in the counters.
struct Counted(Arc<Counters>);

impl Counted {
    fn new(counters: Arc<Counters>) -> Self {
        counters.streams_open.fetch_add(1, Relaxed);
        counters.streams_total.fetch_add(1, Relaxed);
        Self(counters)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.streams_open.fetch_sub(1, Relaxed);
    }
}
