//! The Python face: `hawse_tunnel._core.Core`, exactly as exitnode/hawse_tunnel/_core.pyi says. Thin on purpose.
//!
//! Bytes come in and are parsed here, so that a malformed argument is a ValueError at the call; everything later is an event.
//! What may take longer than about 50 us runs detached from the interpreter. The runtime's thread never attaches.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hawse_proto::core;
use hawse_proto::ir;
use hawse_tunnel::{Dial, Identity};
use prost::Message;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bridge::Event;
use crate::node::{Command, Node};

/// The Rust data plane of one process.
#[pyclass(frozen, module = "hawse_tunnel._core")]
struct Core {
    node: Arc<Node>,
    /// The process that made it: a fork has its memory and not its thread.
    process: u32,
    closed: AtomicBool,
}

type Drained<'py> = Vec<(&'static str, u64, Bound<'py, PyBytes>)>;

#[pymethods]
impl Core {
    #[new]
    fn new() -> PyResult<Self> {
        let node = Node::start().map_err(|why| PyOSError::new_err(why.to_string()))?;
        Ok(Self {
            node,
            process: std::process::id(),
            closed: AtomicBool::new(false),
        })
    }

    fn fileno(&self) -> PyResult<i32> {
        Ok(self.node()?.events.fd())
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Drained<'py>> {
        let tuple = |event| match event {
            Event::Done(ticket, error) => ("done", ticket, PyBytes::new(py, error.as_bytes())),
            Event::LinkUp(link, up) => ("link_up", link, PyBytes::new(py, &up)),
            Event::Frame(link, frame, _credit) => ("frame", link, PyBytes::new(py, &frame)),
            Event::LinkDown(link, down) => ("link_down", link, PyBytes::new(py, &down)),
            Event::Targets(targets) => ("targets", 0, PyBytes::new(py, &targets)),
            Event::Failed(what) => ("failed", 0, PyBytes::new(py, what.as_bytes())),
        };
        Ok(self.node()?.events.drain().into_iter().map(tuple).collect())
    }

    fn bind_ports_at(&self, address: &str) -> PyResult<()> {
        let wrong = |_| PyValueError::new_err(format!("{address:?} is not an IP address"));
        self.node()?.edge.bind_ports_at(address.parse().map_err(wrong)?);
        Ok(())
    }

    fn serve_edge(&self, ticket: u64, bind: &str, options: &[u8]) -> PyResult<()> {
        let command = Command::ServeEdge(address(bind)?, message(options, "EdgeOptions")?);
        self.node()?.command(ticket, command);
        Ok(())
    }

    fn drain_edge(&self, ticket: u64, grace_ms: u32) -> PyResult<()> {
        let grace = Duration::from_millis(grace_ms.into());
        self.node()?.command(ticket, Command::DrainEdge(grace));
        Ok(())
    }

    fn serve_links(&self, py: Python<'_>, ticket: u64, bind: &str, identity: &[u8]) -> PyResult<()> {
        let command = Command::ServeLinks(address(bind)?, parse_identity(py, identity)?);
        self.node()?.command(ticket, command);
        Ok(())
    }

    fn rotate_identity(&self, py: Python<'_>, identity: &[u8]) -> PyResult<()> {
        let node = self.node()?;
        let identity = parse_identity(py, identity)?;
        py.detach(|| node.tunnel.rotate(&identity))
            .map_err(|why| PyValueError::new_err(why.to_string()))
    }

    fn dial(&self, py: Python<'_>, ticket: u64, request: &[u8]) -> PyResult<()> {
        let node = self.node()?;
        let request: core::DialRequest = message(request, "DialRequest")?;
        let dial = py
            .detach(|| Dial::parse(request))
            .map_err(|why| PyValueError::new_err(why.to_string()))?;
        node.command(ticket, Command::Dial(dial));
        Ok(())
    }

    fn send(&self, link: u64, frame: &[u8]) -> PyResult<()> {
        self.node()?
            .tunnel
            .send(link, frame)
            .map_err(|why| PyValueError::new_err(why.to_string()))
    }

    fn close_link(&self, link: u64, code: u32, reason: &str) -> PyResult<()> {
        self.node()?.tunnel.close_link(link, code, reason);
        Ok(())
    }

    fn bind_link(&self, link: u64, tunnel_uids: Vec<String>) -> PyResult<()> {
        self.node()?.tunnel.bind_link(link, tunnel_uids);
        Ok(())
    }

    fn announce_peer(&self, link: u64, distance: u32, add: Vec<String>, remove: Vec<String>) -> PyResult<()> {
        self.node()?.tunnel.announce_peer(link, distance, add, &remove);
        Ok(())
    }

    fn admit_peer(&self, link: u64) -> PyResult<()> {
        self.node()?.tunnel.admit_peer(link);
        Ok(())
    }

    fn attach(&self, link: u64, attach: &[u8]) -> PyResult<()> {
        let node = self.node()?;
        let attach: core::Attach = message(attach, "Attach")?;
        if let Some(app) = attach
            .upstreams
            .iter()
            .find(|app| app.host.is_empty() || !(1..65_536).contains(&app.port))
        {
            let (uid, host, port) = (&app.tunnel_uid, &app.host, app.port);
            return Err(PyValueError::new_err(format!(
                "tunnel {uid}: {host:?} port {port} is not an address of an app"
            )));
        }
        node.tunnel.attach(link, attach.upstreams);
        Ok(())
    }

    fn apply(&self, py: Python<'_>, obj: &[u8]) -> PyResult<String> {
        let node = self.node()?;
        let object: ir::Object = message(obj, "Object")?;
        Ok(py.detach(|| node.edge.apply(object)).err().unwrap_or_default())
    }

    fn remove(&self, py: Python<'_>, key: &str) -> PyResult<()> {
        let node = self.node()?;
        py.detach(|| node.edge.remove(key));
        Ok(())
    }

    fn put_certificate(&self, py: Python<'_>, id: &str, chain_pem: &[u8], key_pem: &[u8]) -> PyResult<String> {
        let node = self.node()?;
        Ok(py
            .detach(|| node.edge.put_certificate(id, chain_pem, key_pem))
            .err()
            .unwrap_or_default())
    }

    fn set_stale(&self, says: &str) -> PyResult<()> {
        self.node()?.staleness.set(says);
        Ok(())
    }

    fn put_material(&self, py: Python<'_>, id: &str, data: &[u8]) -> PyResult<String> {
        let node = self.node()?;
        Ok(py.detach(|| node.edge.put_material(id, data)).err().unwrap_or_default())
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let node = self.node()?;
        let bytes = py.detach(|| node.snapshot().encode_to_vec());
        Ok(PyBytes::new(py, &bytes))
    }

    fn close(&self, py: Python<'_>) {
        // A fork has no thread to join, and the parent's sockets are not its to close.
        if self.process == std::process::id() && !self.closed.swap(true, Relaxed) {
            py.detach(|| self.node.close());
        }
    }
}

impl Core {
    fn node(&self) -> PyResult<&Node> {
        if self.process != std::process::id() {
            return Err(PyRuntimeError::new_err(
                "the core does not live on in a forked process: make one there",
            ));
        }
        if self.closed.load(Relaxed) {
            return Err(PyRuntimeError::new_err("the core is closed"));
        }
        Ok(&self.node)
    }
}

fn address(text: &str) -> PyResult<SocketAddr> {
    let wrong = |_| PyValueError::new_err(format!("{text:?} is not an address and port, like 127.0.0.1:7443"));
    text.parse().map_err(wrong)
}

fn message<M: Message + Default>(bytes: &[u8], name: &str) -> PyResult<M> {
    M::decode(bytes).map_err(|why| PyValueError::new_err(format!("not a serialised {name}: {why}")))
}

fn parse_identity(py: Python<'_>, bytes: &[u8]) -> PyResult<Identity> {
    let identity: core::Identity = message(bytes, "Identity")?;
    py.detach(|| Identity::parse(identity))
        .map_err(|why| PyValueError::new_err(why.to_string()))
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Core>()?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
