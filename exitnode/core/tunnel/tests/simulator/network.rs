//! A network in memory: sockets as quinn wants them, and what happens between them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::time::{Instant, Sleep, sleep_until};

/// SplitMix64: enough for tests, and the same everywhere.
#[derive(Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Below `end`; 0 if that is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// Each way, for each packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// Per cent.
    pub(super) lost: u64,
    /// Per cent.
    pub(super) doubled: u64,
    pub(super) delay: Duration,
    /// At most, on top of the delay: later packets overtake.
    pub(super) jitter: Duration,
}

#[derive(Debug)]
pub(super) struct Network(Mutex<State>);

#[derive(Debug)]
struct State {
    rng: Rng,
    weather: Weather,
    swallows: bool,
    sockets: HashMap<SocketAddr, Arc<Inbox>>,
    sent: u64,
}

/// Due, number, sender, bytes.
type Packet = (Instant, u64, SocketAddr, Vec<u8>);

#[derive(Debug, Default)]
struct Inbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    packets: BinaryHeap<Reverse<Packet>>,
    reader: Option<Waker>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Network {
    pub(super) fn new(seed: u64, weather: Weather) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            rng: Rng::new(seed),
            weather,
            swallows: false,
            sockets: HashMap::new(),
            sent: 0,
        })))
    }

    pub(super) fn swallow(&self, everything: bool) {
        self.0.lock().unwrap().swallows = everything;
    }

    pub(super) fn socket(self: &Arc<Self>, address: SocketAddr) -> Arc<Socket> {
        let socket = Socket {
            network: self.clone(),
            address: Mutex::new(address),
            inbox: Arc::default(),
        };
        self.0.lock().unwrap().sockets.insert(address, socket.inbox.clone());
        Arc::new(socket)
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let state = &mut *self.0.lock().unwrap();
        let Some(inbox) = state.sockets.get(&to).filter(|_| !state.swallows) else {
            return;
        };
        let Weather {
            lost,
            doubled,
            delay,
            jitter,
        } = state.weather;
        let copies = 1 + u64::from(state.rng.below(100) < doubled);
        for _ in 0..copies {
            if state.rng.below(100) < lost {
                continue;
            }
            let late = Duration::from_micros(state.rng.below(jitter.as_micros() as u64));
            state.sent += 1;
            inbox.put((Instant::now() + delay + late, state.sent, from, bytes.to_vec()));
        }
    }
}

impl Inbox {
    fn put(&self, packet: Packet) {
        let mut waiting = self.0.lock().unwrap();
        waiting.packets.push(Reverse(packet));
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Packet> {
        let waiting = &mut *self.0.lock().unwrap();
        waiting.reader = Some(cx.waker().clone());
        let Some(Reverse((due, ..))) = waiting.packets.peek() else {
            return Poll::Pending;
        };
        let mut timer = Box::pin(sleep_until(*due));
        if timer.as_mut().poll(cx).is_pending() {
            waiting.timer = Some(timer); // kept, or it wakes nobody
            return Poll::Pending;
        }
        match waiting.packets.pop() {
            Some(Reverse(packet)) => Poll::Ready(packet),
            None => Poll::Pending,
        }
    }
}

#[derive(Debug)]
pub(super) struct Socket {
    network: Arc<Network>,
    address: Mutex<SocketAddr>,
    inbox: Arc<Inbox>,
}

impl Socket {
    /// What is sent from now on comes from here; the old address is nobody's.
    pub(super) fn move_to(&self, address: SocketAddr) {
        let before = std::mem::replace(&mut *self.address.lock().unwrap(), address);
        let sockets = &mut self.network.0.lock().unwrap().sockets;
        sockets.remove(&before);
        sockets.insert(address, self.inbox.clone());
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let from = *self.address.lock().unwrap();
        self.network.send(from, transmit.destination, transmit.contents);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inbox.poll_next(cx).map(|(_, _, addr, bytes)| {
            let len = bytes.len();
            bufs[0][..len].copy_from_slice(&bytes);
            meta[0] = RecvMeta {
                addr,
                len,
                stride: len,
                ..RecvMeta::default()
            };
            Ok(1)
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(*self.address.lock().unwrap())
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
