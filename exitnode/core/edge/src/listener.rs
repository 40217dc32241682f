//! The public sockets: TCP, and UDP of the same number for HTTP/3. Accepts visitors under the caps, hands them to the front,
//! and drains when it is told to. Ports of TCP tunnels (tcp/) begin and end with it.

use std::{future::pending, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hawse_proto::core::EdgeOptions;
use http::HeaderValue;
use rustls::crypto::aws_lc_rs;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, interval, sleep, sleep_until},
};

use crate::{
    caps::{Caps, Doors},
    dial::Dialer,
    front::{Alpn, Entrance, Front, server_config},
    limits::{self, Limits},
    memory, pressure,
    respond::Pages,
    shared::Shared,
    sockets, stack,
    stalls::Stalls,
    tasks::{StopOnDrop, Tasks},
    tcp::Tcp,
    upstream::{Checks, Upstream},
    visit::RequestIds,
};

/// A bound listener. Visitors wait in the kernel until [`Listening::run`] is awaited.
pub struct Listening {
    socket: TcpListener,
    quic: Option<Entrance>,
    front: Arc<Front>,
    caps: Arc<Caps>,
    tasks: Tasks,
    /// Health checks that are not running yet begin.
    begin_checks: Box<dyn Fn() + Send + Sync>,
    /// Ports of TCP tunnels are served until the receiver turns true.
    serve_ports: Box<dyn FnOnce(watch::Receiver<bool>) + Send>,
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {transport} {address}: {source}")]
pub struct BindError {
    /// "TCP" or "UDP".
    pub transport: &'static str,
    /// Where it should have listened.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

impl Listening {
    pub(crate) fn bind<D: Dialer>(
        dialer: D,
        shared: Arc<Shared>,
        addr: SocketAddr,
        options: &EdgeOptions,
    ) -> Result<Self, BindError> {
        let (socket, quic) = bind(addr, &shared, options)?;
        Self::new(dialer, shared, options, (socket, quic)).map_err(|source| BindError {
            transport: "TCP",
            address: addr,
            source,
        })
    }

    fn new<D: Dialer>(
        dialer: D,
        shared: Arc<Shared>,
        options: &EdgeOptions,
        (socket, quic): (TcpListener, Option<Entrance>),
    ) -> io::Result<Self> {
        shared.identity_service.listens_at(&options.identity_socket);
        let limits = Limits::of(options);
        shared.routes.store.set_memory(limits.memory_bytes);
        let tasks = Tasks::default();
        let upstream = Upstream::new(dialer, tasks.clone(), &shared, &limits);
        let (checks, among) = (Checks::new(upstream.clone(), shared.clone()), tasks.clone());
        let caps = Caps::new(shared.clone(), limits.connections, limits.connections_per_address);
        let doors = Doors::new(caps.clone());
        let tcp = Arc::new(Tcp {
            shared: shared.clone(),
            up: upstream.clone(),
            doors: doors.clone(),
            limits: limits.clone(),
            tasks: tasks.clone(),
        });
        let stack = stack::build(stack::Parts {
            shared: shared.clone(),
            limits: limits.clone(),
            pages: Pages::of(options),
            served_by: HeaderValue::from_str(&options.served_by)
                .ok()
                .filter(|name| !name.is_empty()),
            tasks: tasks.clone(),
            upstream,
        });
        let tls = server_config(shared.clone(), Alpn::Tcp)?;
        let front = Arc::new(Front {
            shared,
            limits,
            tls,
            stack,
            doors,
            ids: request_ids()?,
            tasks: tasks.clone(),
            http3: quic.is_some(),
            tails: Stalls::new(limits::H3_TAILS),
        });
        Ok(Self {
            socket,
            quic,
            front,
            caps,
            tasks,
            begin_checks: Box::new(move || checks.start(&among)),
            serve_ports: Box::new(move |finish| tcp.tasks.spawn(tcp.clone().run(finish))),
        })
    }

    /// The bound address: tells the port that 0 became.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `drain` names a deadline. Then the socket closes, connections are told to finish (`Connection: close`,
    /// GOAWAY), and it returns when the last running request has ended or the deadline is over; a later value moves it.
    /// A dropped sender is a deadline that has passed. Not cancel safe: dropping it cuts every connection off at once.
    pub async fn run(self, drain: watch::Receiver<Option<Instant>>) {
        let Self {
            socket,
            quic,
            front,
            caps,
            tasks,
            begin_checks,
            serve_ports,
        } = self;
        let _stop = StopOnDrop(tasks.clone());
        let (finishing, finish) = watch::channel(false);
        let mut ordered = pin!(ordered(drain.clone()));
        if let Some(quic) = quic {
            tasks.spawn(quic.run(front.clone(), caps.clone(), tasks.clone(), finish.clone()));
        }
        serve_ports(finish.clone());
        let watched = front.clone();
        tasks.spawn(async move {
            let most = watched.limits.memory_bytes;
            pressure::watch(&watched.shared, most, || memory::used(most)).await;
        });
        let mut sweep = interval(limits::POOL_SWEEP);
        loop {
            tokio::select! {
                biased;
                () = &mut ordered => break,
                _ = sweep.tick() => {
                    front.shared.routes.sweep(Instant::now());
                    begin_checks();
                }
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => admit(&front, &tasks, (stream, peer), &finish),
                    // Out of file descriptors or memory: wait for connections to end, the others go on.
                    Err(_) => sleep(limits::ACCEPT_PAUSE).await,
                },
            }
        }
        for visitor in sockets::waiting(socket) {
            admit(&front, &tasks, visitor, &finish);
        }
        finishing.send_replace(true);
        // Every connection holds a receiver until it has ended.
        drop(finish);
        tokio::select! {
            () = async {
                finishing.closed().await;
                websockets_end(&caps).await;
            } => {}
            () = deadline(drain) => {}
        }
    }
}

/// Resolves when there is a deadline, or can't be one any more.
async fn ordered(mut drain: watch::Receiver<Option<Instant>>) {
    let _ = drain.wait_for(Option::is_some).await;
}

/// Resolves when the newest deadline is over.
async fn deadline(mut drain: watch::Receiver<Option<Instant>>) {
    loop {
        let Some(until) = *drain.borrow_and_update() else {
            return;
        };
        tokio::select! {
            () = sleep_until(until) => return,
            () = moved(&mut drain) => {}
        }
    }
}

/// Resolves when the deadline was changed; never if nobody can change it any more.
async fn moved(drain: &mut watch::Receiver<Option<Instant>>) {
    if drain.changed().await.is_err() {
        pending().await
    }
}

/// Gives the connection to a task of its own, or closes it.
fn admit(front: &Arc<Front>, tasks: &Tasks, (stream, peer): (TcpStream, SocketAddr), finish: &watch::Receiver<bool>) {
    // Without it small answers wait for the visitor's ACK; failure costs 40 ms, not correctness.
    let _ = stream.set_nodelay(true);
    let socket = socket2::SockRef::from(&stream);
    let _ = socket.set_tcp_user_timeout(Some(limits::READER_STALL));
    let _ = socket.set_tcp_notsent_lowat(limits::UNSENT_BYTES);
    if front.shared.proxies.announce(peer.ip()) {
        if let Some(waiting) = front.doors.wait(peer.ip()) {
            tasks.spawn(front.clone().hear(stream, (peer, waiting), finish.clone()));
        }
    } else if let Some(guest) = front.doors.enter(peer.ip()) {
        tasks.spawn(front.clone().serve(stream, (peer, guest), finish.clone()));
    }
}

/// hyper is done with their connections; their places are taken until they end.
async fn websockets_end(caps: &Caps) {
    const LOOK: Duration = Duration::from_millis(50);
    while caps.open() > 0 {
        sleep(LOOK).await;
    }
}

/// Both sockets on one port. When any port will do, another is tried if the UDP port of the same number is taken.
fn bind(
    address: SocketAddr,
    shared: &Arc<Shared>,
    options: &EdgeOptions,
) -> Result<(TcpListener, Option<Entrance>), BindError> {
    const ATTEMPTS: usize = 16;
    let mut attempt = 1;
    loop {
        let failed = |transport, address| {
            move |source| BindError {
                transport,
                address,
                source,
            }
        };
        let tcp = sockets::listen(address)
            .and_then(TcpListener::from_std)
            .map_err(failed("TCP", address))?;
        if options.http3_off {
            return Ok((tcp, None));
        }
        let bound = tcp.local_addr().map_err(failed("TCP", address))?;
        let tls = server_config(shared.clone(), Alpn::Quic);
        match tls.and_then(|tls| Entrance::bind(bound, tls, &Limits::of(options))) {
            Ok(quic) => return Ok((tcp, Some(quic))),
            Err(error) if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(source) => return Err(failed("UDP", bound)(source)),
        }
    }
}

fn request_ids() -> io::Result<RequestIds> {
    let mut seed = [0; 16];
    let filled = aws_lc_rs::default_provider().secure_random.fill(&mut seed);
    filled.map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(RequestIds::new(seed))
}
