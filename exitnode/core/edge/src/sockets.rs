//! TCP sockets for visitors: how one listens, and how it stops without cutting off those who wait in the kernel.
//!
//! Called by the listener and, for ports of TCP tunnels, by tcp/.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::limits;

/// Listens at once, in no runtime yet. A port that another listener has just left can be had again.
pub(crate) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::BACKLOG)?;
    Ok(socket.into())
}

/// Closes a socket, but not on those who wait in the kernel: they are connected already, and would be reset.
pub(crate) fn waiting(socket: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(socket) = socket.into_std() else {
        return Vec::new();
    };
    // The runtime may not have heard of them yet, so the kernel is asked.
    let accepted = std::iter::from_fn(|| socket.accept().ok()).take(limits::BACKLOG as usize);
    let taken = accepted.map(|(stream, peer)| {
        stream.set_nonblocking(true)?;
        Ok((TcpStream::from_std(stream)?, peer))
    });
    taken.filter_map(io::Result::ok).collect()
}
