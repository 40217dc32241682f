//! Sockets as links want them: UDP with buffers as large as the kernel allows, TCP with little in them that was not sent.
//! Called by server/ and dial/.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::{Endpoint, EndpointConfig, ServerConfig};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use tokio::net::TcpStream;

use crate::batches::Tasks;
use crate::limits::{UDP_BUFFER_BYTES, UNACKNOWLEDGED, UNSENT_BYTES};

/// An endpoint that dials. Must be called within the runtime.
pub(crate) fn dialling(address: SocketAddr) -> io::Result<Endpoint> {
    endpoint(address, EndpointConfig::default(), None)
}

/// An endpoint that accepts. Must be called within the runtime.
pub(crate) fn accepting(address: SocketAddr, config: EndpointConfig, server: ServerConfig) -> io::Result<Endpoint> {
    endpoint(address, config, Some(server))
}

fn endpoint(address: SocketAddr, config: EndpointConfig, server: Option<ServerConfig>) -> io::Result<Endpoint> {
    Endpoint::new(config, server, bind(address)?, Arc::new(Tasks))
}

/// Any address of the family of `peer`.
pub(crate) fn any(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // Best effort: an ordinary user may get less (net.core.rmem_max), which costs speed only.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(UDP_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Every option is best effort: without it the link is slower, or a dead one is seen later.
pub(crate) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    {
        let socket = SockRef::from(stream);
        let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
        let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        // Where the kernel has it: under loss it carries many times what cubic does.
        let _ = socket.set_tcp_congestion(b"bbr");
    }
}
