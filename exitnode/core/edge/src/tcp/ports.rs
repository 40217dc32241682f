//! The sockets of TCP tunnels: one a port, there for as long as a tunnel says so.
//!
//! A port is bound where a tunnel is applied, on the caller's thread, so that one which cannot be had is that tunnel's refusal.
//! Who connects before the listener runs waits in the kernel. Changed by route.rs; served by tcp/mod.rs.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{net::TcpListener, sync::Notify};

use crate::{limits, sockets};

/// See the module.
#[derive(Debug)]
pub(crate) struct Ports {
    /// So many at once.
    most: usize,
    table: Mutex<Table>,
    /// There is a port that nobody serves.
    news: Notify,
}

#[derive(Debug, Default)]
struct Table {
    at: Option<IpAddr>,
    entries: BTreeMap<u16, Entry>,
    /// The edge takes no visitors any more.
    is_shut: bool,
}

#[derive(Debug)]
struct Entry {
    /// Until somebody serves it.
    socket: Option<std::net::TcpListener>,
    is_wanted: bool,
    /// Whoever serves it looks whether it is still wanted.
    turned: Arc<Notify>,
}

/// A port to be served.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    pub(super) socket: std::net::TcpListener,
    pub(super) turned: Arc<Notify>,
}

impl Default for Ports {
    fn default() -> Self {
        Self::new(limits::TCP_PORTS)
    }
}

impl Ports {
    fn new(most: usize) -> Self {
        Self {
            most,
            table: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// Where ports are bound from now on.
    pub(crate) fn bind_at(&self, address: IpAddr) {
        self.table().at = Some(address);
    }

    /// Listens on a port, if nothing of ours does yet. The error says why it cannot be had.
    pub(crate) fn open(&self, number: u16) -> Result<(), String> {
        let mut table = self.table();
        if let Some(entry) = table.entries.get_mut(&number) {
            entry.is_wanted = true;
            return Ok(());
        }
        let at = table.at.ok_or("this process has no address for TCP tunnels")?;
        if table.is_shut {
            return Ok(());
        }
        if table.entries.len() >= self.most {
            return Err(format!(
                "this exit node serves {} ports of TCP tunnels already",
                self.most
            ));
        }
        let address = SocketAddr::new(at, number);
        let socket = sockets::listen(address).map_err(|why| format!("cannot listen on TCP {address}: {why}"))?;
        let entry = Entry {
            socket: Some(socket),
            is_wanted: true,
            turned: Arc::default(),
        };
        table.entries.insert(number, entry);
        self.news.notify_one();
        Ok(())
    }

    /// No tunnel wants the port any more. Connections that run are nobody's concern here.
    pub(crate) fn close(&self, number: u16) {
        let mut table = self.table();
        let Some(entry) = table.entries.get_mut(&number) else {
            return;
        };
        if entry.socket.is_some() {
            table.entries.remove(&number);
        } else {
            entry.is_wanted = false;
            entry.turned.notify_one();
        }
    }

    /// Resolves when there may be something in [`Ports::unserved`]. For one waiter. Cancel safe.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Ports that nobody serves yet; whoever asks does.
    pub(super) fn unserved(&self) -> Vec<Port> {
        let mut table = self.table();
        let taken = table.entries.iter_mut().filter_map(|(number, entry)| {
            Some(Port {
                number: *number,
                socket: entry.socket.take()?,
                turned: entry.turned.clone(),
            })
        });
        taken.collect()
    }

    /// The socket again, if its port is still wanted; else it is closed, and can be bound anew when this returns.
    pub(super) fn keep(&self, number: u16, socket: TcpListener) -> Option<TcpListener> {
        let mut table = self.table();
        if table.entries.get(&number).is_some_and(|entry| entry.is_wanted) {
            return Some(socket);
        }
        table.entries.remove(&number);
        drop(socket); // under the lock: who wants the port now waits, and finds it free
        None
    }

    /// Nothing is served any more. Ports that tunnels want from now on are not opened.
    pub(super) fn shut(&self) {
        let mut table = self.table();
        table.is_shut = true;
        table.entries.clear();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// Ports at an address that no other test has: all of 127/8 is this machine.
    fn ports(last: u8) -> (Ports, SocketAddr) {
        let ports = Ports::default();
        let at = IpAddr::from([127, 77, 0, last]);
        ports.bind_at(at);
        (ports, SocketAddr::new(at, 20_017))
    }

    #[tokio::test]
    async fn a_port_that_is_given_up_can_be_had_again_at_once() {
        let (ports, address) = ports(1);
        ports.open(20_017).unwrap();
        ports.close(20_017);
        assert!(TcpStream::connect(address).is_err(), "never served, so closed at once");
        ports.open(20_017).unwrap();
        let [port] = ports.unserved().try_into().unwrap();
        let socket = TcpListener::from_std(port.socket).unwrap();
        ports.close(20_017);
        ports.open(20_017).unwrap();
        let socket = ports.keep(20_017, socket).unwrap();
        assert!(ports.unserved().is_empty(), "it is the same socket");
        ports.close(20_017);
        assert!(ports.keep(20_017, socket).is_none());
        assert!(TcpStream::connect(address).is_err());
        ports.open(20_017).unwrap();
        assert_eq!(ports.unserved().len(), 1);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_or_has_no_address_is_refused_with_the_reason() {
        let nowhere = Ports::default().open(20_017).unwrap_err();
        assert!(nowhere.contains("no address"), "{nowhere}");
        let (ports, address) = ports(2);
        let _other = sockets::listen(address).unwrap();
        let taken = ports.open(20_017).unwrap_err();
        assert!(
            taken.contains("127.77.0.2:20017") && taken.contains("in use"),
            "{taken}"
        );
    }

    #[tokio::test]
    async fn only_so_many_ports_are_open_at_once_and_none_after_the_end() {
        let ports = Ports::new(2);
        ports.bind_at([127, 77, 0, 3].into());
        ports.open(20_000).unwrap();
        ports.open(20_001).unwrap();
        ports.open(20_001).unwrap();
        assert!(ports.open(20_002).unwrap_err().contains("2 ports"));
        ports.close(20_000);
        ports.open(20_002).unwrap();
        ports.shut();
        ports.open(20_000).unwrap();
        assert!(ports.unserved().is_empty());
    }
}
