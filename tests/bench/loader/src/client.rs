//! Closed-loop HTTP/1.1 clients: each connection sends its next request when it has the whole answer to the last.

use std::cell::RefCell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::stats::Tally;

const READ_BYTES: usize = 64 << 10;
const HEADERS: usize = 64;
/// Nothing of what is measured takes this long; what does has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection that failed waits before it tries again, so that a dead product doesn't become a busy loop.
const PAUSE: Duration = Duration::from_millis(20);

/// What to do, from the command line.
pub(crate) struct Plan {
    address: SocketAddr,
    host: String,
    request: Vec<u8>,
    connections: usize,
    lasts: Duration,
    length: usize,
    renew: bool,
    tls: Option<TlsConnector>,
}

impl Plan {
    /// `None`: not as the usage says.
    pub(crate) fn parse(words: &[&str]) -> Option<Result<Self, Box<dyn Error>>> {
        let (&[address, host, path, connections, seconds, length, mode], rest) =
            words.split_first_chunk::<7>()?;
        let roots = match rest {
            [] => None,
            [file] => Some(*file),
            _ => return None,
        };
        Some(Self::build(
            address,
            host,
            path,
            [connections, seconds, length],
            mode == "new",
            roots,
        ))
    }

    fn build(
        address: &str,
        host: &str,
        path: &str,
        [connections, seconds, length]: [&str; 3],
        renew: bool,
        roots: Option<&str>,
    ) -> Result<Self, Box<dyn Error>> {
        let close = if renew { "connection: close\r\n" } else { "" };
        Ok(Self {
            address: address.parse()?,
            request: format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: hawse-bench\r\naccept: */*\r\n{close}\r\n")
                .into_bytes(),
            host: host.to_owned(),
            connections: connections.parse()?,
            lasts: Duration::from_secs_f64(seconds.parse()?),
            length: length.parse()?,
            renew,
            tls: roots.map(connector).transpose()?,
        })
    }
}

/// Trusts one file, offers HTTP/1.1, and never resumes: each new connection is a whole handshake.
fn connector(roots: &str) -> Result<TlsConnector, Box<dyn Error>> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(roots)? {
        store.add(certificate?)?;
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Runs the plan to its end.
pub(crate) async fn load(plan: Plan) -> Result<Tally, Box<dyn Error>> {
    let plan = Rc::new(plan);
    let tally = Rc::new(RefCell::new(Tally::default()));
    let began = Instant::now();
    let end = began + plan.lasts;
    let visitors: Vec<_> = (0..plan.connections)
        .map(|_| tokio::task::spawn_local(visit_until(Rc::clone(&plan), Rc::clone(&tally), end)))
        .collect();
    for visitor in visitors {
        visitor.await?;
    }
    let mut tally = tally.take();
    tally.elapsed = began.elapsed();
    Ok(tally)
}

async fn visit_until(plan: Rc<Plan>, tally: Rc<RefCell<Tally>>, end: Instant) {
    while Instant::now() < end {
        let began = Instant::now();
        let outcome = match connect(&plan).await {
            Ok(stream) => serve_from(stream, &plan, &tally, end, began).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tally.borrow_mut().bad(&error.to_string());
            tokio::time::sleep(PAUSE).await;
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

async fn connect(plan: &Plan) -> Result<Box<dyn Stream>, Box<dyn Error>> {
    let connecting = async {
        let tcp = TcpStream::connect(plan.address).await?;
        tcp.set_nodelay(true)?;
        Ok::<Box<dyn Stream>, Box<dyn Error>>(match &plan.tls {
            None => Box::new(tcp),
            Some(tls) => Box::new(
                tls.connect(ServerName::try_from(plan.host.clone())?, tcp)
                    .await?,
            ),
        })
    };
    tokio::time::timeout(PATIENCE, connecting).await?
}

/// Requests on one connection; the first one's time includes the connecting if every request has its own connection.
async fn serve_from(
    mut stream: Box<dyn Stream>,
    plan: &Plan,
    tally: &RefCell<Tally>,
    end: Instant,
    connected: Instant,
) -> Result<(), Box<dyn Error>> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let began = if plan.renew {
            connected
        } else {
            Instant::now()
        };
        let bytes = tokio::time::timeout(PATIENCE, ask(&mut stream, plan, &mut buffer)).await??;
        tally.borrow_mut().good(began.elapsed(), bytes);
        if plan.renew || Instant::now() >= end {
            return Ok(());
        }
    }
}

async fn ask(
    stream: &mut Box<dyn Stream>,
    plan: &Plan,
    buffer: &mut [u8],
) -> Result<usize, Box<dyn Error>> {
    stream.write_all(&plan.request).await?;
    stream.flush().await?;
    let mut filled = 0;
    let head = loop {
        let count = stream.read(&mut buffer[filled..]).await?;
        if count == 0 {
            return Err(format!("closed after {filled} bytes of the head").into());
        }
        filled += count;
        if let Some(head) = check_head(&buffer[..filled], plan.length)? {
            break head;
        }
    };
    let mut body = filled - head;
    while body < plan.length {
        let count = stream.read(buffer).await?;
        if count == 0 {
            return Err(format!("closed after {body} of {} bytes", plan.length).into());
        }
        body += count;
    }
    if body == plan.length {
        Ok(body)
    } else {
        Err(format!("{body} bytes instead of {}", plan.length).into())
    }
}

/// The head's length once it is whole.
fn check_head(bytes: &[u8], length: usize) -> Result<Option<usize>, Box<dyn Error>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else {
        return Ok(None);
    };
    if response.code != Some(200) {
        return Err(format!("status {:?}", response.code).into());
    }
    let said = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let said = said.and_then(|header| {
        std::str::from_utf8(header.value)
            .ok()?
            .parse::<usize>()
            .ok()
    });
    if said != Some(length) {
        return Err(format!("content-length {said:?} instead of {length}").into());
    }
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_with_the_right_length_counts() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(check_head(whole, 5).unwrap(), Some(whole.len() - 5));
        assert_eq!(check_head(&whole[..20], 5).unwrap(), None);
        assert!(check_head(whole, 6).is_err());
        assert!(check_head(b"HTTP/1.1 200 OK\r\n\r\n", 5).is_err());
        assert!(check_head(b"HTTP/1.1 503 Down\r\nContent-Length: 5\r\n\r\n", 5).is_err());
    }
}
