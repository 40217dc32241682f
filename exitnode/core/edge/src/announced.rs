//! The PROXY header, versions 1 and 2, with which a load balancer says whose connection it passes on.
//!
//! Read to its last byte and not further: TLS begins behind it, or a TCP tunnel's own bytes. The crate `ppp` reads what it
//! says. Called by the front end and by tcp/.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;
/// Version 2, what follows the fixed part: addresses (at most 216 bytes) and notes of the load balancer, which are not used.
const V2_MOST: usize = 1024;
/// Version 1 (proxy-protocol.txt, section 2.1).
const V1_MOST: usize = 107;

/// The visitor's address. `None`: the load balancer speaks for itself (a health check), or does not know.
/// Not cancel safe: what was read is lost, and the connection with it.
pub(crate) async fn read<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; V2_SIGNATURE.len()];
    from.read_exact(&mut header).await?;
    if header == V2_SIGNATURE {
        header.resize(V2_FIXED, 0);
        from.read_exact(&mut header[V2_SIGNATURE.len()..]).await?;
        let more = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if more > V2_MOST {
            return Err(invalid("it is longer than this exit node reads"));
        }
        header.resize(V2_FIXED + more, 0);
        from.read_exact(&mut header[V2_FIXED..]).await?;
    } else if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\r\n") {
            if header.len() == V1_MOST {
                return Err(invalid("its line does not end"));
            }
            header.push(from.read_u8().await?);
        }
    } else {
        return Err(invalid("there is none"));
    }
    visitor_in(&header)
}

/// What a whole header says.
fn visitor_in(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(of) => Some((IpAddr::from(of.source_address), of.source_port).into()),
            v1::Addresses::Tcp6(of) => Some((IpAddr::from(of.source_address), of.source_port).into()),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Proxy => Ok(match header.addresses {
            v2::Addresses::IPv4(of) => Some((IpAddr::from(of.source_address), of.source_port).into()),
            v2::Addresses::IPv6(of) => Some((IpAddr::from(of.source_address), of.source_port).into()),
            v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
        }),
        HeaderResult::V2(Ok(_)) => Ok(None),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(invalid("it cannot be read")),
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no PROXY header: {why}"))
}

/// Any bytes are a header or an error, and nothing behind a header is taken. For hawse-fuzz.
#[cfg(feature = "fuzzing")]
pub fn proxy_header(data: &[u8]) {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };
    let mut rest = data;
    let read = pin!(read(&mut rest)).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(found) = read else {
        unreachable!("a slice has no more to wait for")
    };
    let taken = data.len() - rest.len();
    assert!(taken <= V2_FIXED + V2_MOST);
    if let Ok(visitor) = found {
        assert!(matches!(visitor_in(&data[..taken]), Ok(again) if again == visitor));
    }
}

#[cfg(test)]
mod tests;
