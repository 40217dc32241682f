//! The one runtime of a process: a thread, the long-lived tasks on it, and their orderly end.
//!
//! Every long-lived task is made in `run_node`, has a name and an owner. A task that panics becomes the event `failed`, and
//! the others go on: Python decides to stop. Order of the end: visitors still there are cut off (who wants to let them finish
//! drains the edge before); links and their listeners close and tell their peers; what is left is dropped with the runtime.
//! Called by python.rs; knows nothing of Python.

use std::any::Any;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use hawse_edge::Edge;
use hawse_proto::codes::{self, Code};
use hawse_proto::core::{EdgeOptions, LinkDown, LinkUp, Snapshot};
use hawse_tunnel::{Dial, Events, Identity, Tunnel};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::bridge::{Event, EventQueue};
use crate::staleness::Staleness;
use crate::visitors::LinkDialer;

/// Commands that wait for the runtime. Past it: the command fails.
const COMMANDS: usize = 256;

/// What the end waits for tasks after they were told.
const END_GRACE: Duration = Duration::from_secs(1);

/// Commands that make tasks; all others are done on the caller's thread.
#[derive(Debug)]
pub enum Command {
    /// Listen for visitors.
    ServeEdge(SocketAddr, EdgeOptions),
    /// Listen for agents.
    ServeLinks(SocketAddr, Identity),
    /// Connect to an exit node.
    Dial(Dial),
    /// Close the listeners of visitors and wait for running requests, for this long; links stay.
    DrainEdge(Duration),
}

/// The deadline of visitors; `None` while they are served. The sender can tell when every listener has ended.
type Visitors = watch::Sender<Option<Instant>>;

/// One process's data plane.
pub struct Node {
    /// Links.
    pub tunnel: Arc<Tunnel>,
    /// Visitors.
    pub edge: Edge<LinkDialer>,
    /// Whether agents are out of reach.
    pub staleness: Arc<Staleness>,
    /// What Python drains.
    pub events: Arc<EventQueue>,
    running: Mutex<Option<Running>>,
}

struct Running {
    commands: mpsc::Sender<(u64, Command)>,
    thread: JoinHandle<()>,
}

impl Node {
    /// Starts the runtime on a thread of its own.
    ///
    /// # Errors
    /// The process is out of descriptors or threads.
    pub fn start() -> std::io::Result<Arc<Self>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let events = Arc::new(EventQueue::new()?);
        let tunnel = Tunnel::new(Arc::new(Reporter(events.clone())));
        let staleness = Arc::<Staleness>::default();
        let edge = Edge::new(LinkDialer::new(tunnel.clone(), staleness.clone()));
        let (commands, queue) = mpsc::channel(COMMANDS);
        let node = Arc::new(Self {
            tunnel,
            edge,
            staleness,
            events,
            running: Mutex::default(),
        });
        let worker = node.clone();
        let thread = std::thread::Builder::new()
            .name("hawse-core".to_owned())
            .spawn(move || {
                let work = AssertUnwindSafe(|| runtime.block_on(run_node(&worker, queue)));
                if let Err(panic) = catch_unwind(work) {
                    worker
                        .events
                        .push(Event::Failed(format!("runtime: {}", panic_text(&*panic))));
                }
                runtime.shutdown_background(); // a name resolution may still block a helper thread
            })?;
        *node.running() = Some(Running { commands, thread });
        Ok(node)
    }

    /// Hands a command to the runtime; it answers with `Done(ticket)`.
    pub fn command(&self, ticket: u64, command: Command) {
        let commands = self.running().as_ref().map(|running| running.commands.clone());
        if commands.is_none_or(|commands| commands.try_send((ticket, command)).is_err()) {
            self.done(
                ticket,
                Err((None, "the core is closing, or too many commands wait".to_owned())),
            );
        }
    }

    /// Ends everything and joins the thread. Idempotent; blocks for about 3 s at most.
    pub fn close(&self) {
        let running = self.running().take();
        if let Some(Running { commands, thread }) = running {
            drop(commands); // run_node ends with its last sender
            let _ = thread.join();
        }
    }

    /// Counters and gauges of everything.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        self.edge.snapshot(&mut snapshot);
        let (links, handshakes_failed) = self.tunnel.stats();
        snapshot.links = links;
        snapshot.handshakes_failed += handshakes_failed;
        snapshot.events_dropped = self.events.dropped();
        snapshot
    }

    fn done(&self, ticket: u64, outcome: Result<(), (Option<Code>, String)>) {
        let text = match outcome {
            Ok(()) => String::new(),
            Err((Some(code), text)) => format!("HAWSE-{} {text}", code.number),
            Err((None, text)) => text,
        };
        self.events.push(Event::Done(ticket, text));
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Owns every long-lived task until the last sender of commands is gone.
async fn run_node(node: &Arc<Node>, mut commands: mpsc::Receiver<(u64, Command)>) {
    let visitors = Visitors::new(None);
    let (mut tasks, mut names) = (JoinSet::new(), HashMap::new());
    loop {
        tokio::select! {
            next = commands.recv() => match next {
                Some((ticket, command)) => {
                    let name = command.name();
                    let task = start(&mut tasks, (node, &visitors), ticket, command);
                    names.insert(task.id(), name);
                }
                None => break,
            },
            Some(ended) = tasks.join_next_with_id() => report(node, &mut names, ended),
            () = node.edge.pressed() => node.tunnel.relieve(),
            () = node.edge.turned() => node.events.push(Event::Targets(node.edge.targets().encode_to_vec())),
        }
    }
    visitors.send_replace(Some(Instant::now()));
    let _ = tokio::time::timeout(END_GRACE, visitors.closed()).await;
    node.tunnel.close("the process is stopping").await;
    finish(&mut tasks, END_GRACE).await;
}

/// Waits for tasks that were asked to end; what is left is dropped with the set.
async fn finish(tasks: &mut JoinSet<()>, grace: Duration) {
    let _ = tokio::time::timeout(grace, async { while tasks.join_next().await.is_some() {} }).await;
}

impl Command {
    fn name(&self) -> String {
        match self {
            Self::ServeEdge(address, _) => format!("listener for visitors on {address}"),
            Self::ServeLinks(address, _) => format!("listener for agents on {address}"),
            Self::Dial(_) => "link to an exit node".to_owned(),
            Self::DrainEdge(_) => "drain of visitors".to_owned(),
        }
    }
}

/// Makes the task that answers the ticket once the command took effect, and then goes on if it is a long-lived one.
fn start(
    tasks: &mut JoinSet<()>,
    (node, visitors): (&Arc<Node>, &Visitors),
    ticket: u64,
    command: Command,
) -> AbortHandle {
    let node = node.clone();
    match command {
        // Subscribed here and not in the task, so that a drain ordered after it finds it.
        Command::ServeEdge(address, options) => {
            let deadline = visitors.subscribe();
            tasks.spawn(async move { serve_edge(&node, ticket, (address, options), deadline).await })
        }
        Command::DrainEdge(grace) => {
            visitors.send_replace(Some(Instant::now() + grace));
            let visitors = visitors.clone();
            tasks.spawn(async move {
                visitors.closed().await;
                node.done(ticket, Ok(()));
            })
        }
        Command::ServeLinks(address, identity) => {
            tasks.spawn(async move { serve_links(&node, ticket, address, &identity).await })
        }
        Command::Dial(dial) => tasks.spawn(async move {
            match node.tunnel.dial(ticket, dial).await {
                Ok(link) => Box::pin(link.run()).await, // link_up is the answer
                Err(fault) => node.done(ticket, Err((fault.code(), fault.to_string()))),
            }
        }),
    }
}

async fn serve_links(node: &Node, ticket: u64, address: SocketAddr, identity: &Identity) {
    match node.tunnel.listen(ticket, address, identity) {
        Ok(listening) => {
            node.done(ticket, Ok(()));
            listening.run(node.edge.agents()).await;
        }
        Err(fault) => node.done(ticket, Err((fault.code(), fault.to_string()))),
    }
}

async fn serve_edge(
    node: &Node,
    ticket: u64,
    (address, options): (SocketAddr, EdgeOptions),
    deadline: watch::Receiver<Option<Instant>>,
) {
    if deadline.borrow().is_some() {
        return node.done(ticket, Err((None, "the edge drains: it takes no visitors".to_owned())));
    }
    match node.edge.bind(address, options) {
        Ok(listening) => {
            node.done(ticket, Ok(()));
            listening.run(deadline).await;
        }
        Err(error) => {
            let code = (error.source.kind() == std::io::ErrorKind::AddrInUse).then_some(codes::PORT_IN_USE);
            node.done(ticket, Err((code, error.to_string())));
        }
    }
}

fn report(node: &Node, names: &mut HashMap<Id, String>, ended: Result<(Id, ()), JoinError>) {
    let (id, error) = match ended {
        Ok((id, ())) => (id, None),
        Err(error) => (error.id(), Some(error)),
    };
    let name = names.remove(&id).unwrap_or_default();
    if let Some(error) = error
        && error.is_panic()
    {
        let text = panic_text(&*error.into_panic());
        node.events.push(Event::Failed(format!("{name}: {text}")));
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic".to_owned())
}

/// Puts what happens on links into the queue.
struct Reporter(Arc<EventQueue>);

impl Events for Reporter {
    fn link_up(&self, link: u64, up: LinkUp) {
        self.0.push(Event::LinkUp(link, up.encode_to_vec()));
    }

    fn frame(&self, link: u64, frame: Bytes, credit: OwnedSemaphorePermit) -> bool {
        self.0.push_frame(link, frame, credit)
    }

    fn link_down(&self, link: u64, down: LinkDown) {
        self.0.push(Event::LinkDown(link, down.encode_to_vec()));
    }
}

#[cfg(test)]
mod tests;
