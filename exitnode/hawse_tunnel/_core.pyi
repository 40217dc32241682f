from collections.abc import Sequence
from typing import final

__all__ = ["Core", "__version__"]

__version__: str

@final
class Core:
    """The Rust data plane of one process. Thread-safe; every command returns at once.

    Commands with a ticket report `("done", ticket, error)` once: `error` is empty or UTF-8 "<HAWSE code> <text>".
    Raises ValueError for a malformed argument, RuntimeError after close() and after fork.
    Messages are those of hawse_api/ir/core.proto, ir.proto and frames.proto, serialised.
    """

    def __new__(cls) -> Core: ...
    def fileno(self) -> int:
        """Readable when drain() has something."""

    def drain(self) -> Sequence[tuple[str, int, bytes]]:
        """Events since the last call: (kind, id, payload).

        "done" (ticket, error) · "link_up" (link, LinkUp) · "frame" (link, Frame) · "link_down" (link, LinkDown) ·
        "targets" (0, Targets: the newest says everything) · "failed" (0, text: a long-lived task of the core died).
        """

    def bind_ports_at(self, address: str) -> None:
        """Where ports of TCP tunnels are bound from now on, as part of apply(); without it such tunnels are refused.

        They are served once serve_edge() is; before that, visitors wait in the kernel.
        """

    def serve_edge(self, ticket: int, bind: str, options: bytes) -> None:
        """Listen for visitors (TCP, TLS). Payload EdgeOptions.

        `done` without error = listening; a later `failed` = it ended.
        """

    def drain_edge(self, ticket: int, grace_ms: int) -> None:
        """Stop accepting visitors, tell their connections to finish (Connection: close, GOAWAY), let requests end.

        `done` when the last has ended or the grace is over: what is left then is cut off. Links stay. A later call
        moves the deadline of an earlier one.
        """

    def serve_links(self, ticket: int, bind: str, identity: bytes) -> None:
        """Listen for agents (UDP; ALPN hawse/1 with client certificate, hawse-enroll/1 without). Payload Identity.

        The listeners of serve_edge take them too, over TCP and with the same identity. Over UDP alone also other exit
        nodes (hawse-peer/1, with client certificate): see admit_peer.
        """

    def rotate_identity(self, identity: bytes) -> None:
        """Certificate and roots of handshakes from now on; connections stay. Payload Identity."""

    def dial(self, ticket: int, request: bytes) -> None:
        """Connect to an exit node: `link_up`, or `done` with an error. Payload DialRequest."""

    def send(self, link: int, frame: bytes) -> None:
        """Queue a Frame on the link's control stream (bounded; a full queue closes the link).

        Unknown links are ignored.
        """

    def close_link(self, link: int, code: int, reason: str) -> None:
        """Close after the frames queued so far were sent; `link_down` follows. Unknown links are ignored."""

    def bind_link(self, link: int, tunnel_uids: Sequence[str]) -> None:
        """Exit node: visitors of these tunnels go to this agent's link from now on (replaces the link's last list).

        Links that are not an agent's are ignored.
        """

    def admit_peer(self, link: int) -> None:
        """Exit node with agents: the one that dialled this link is a peer of the fleet, and may reach our agents.

        Before, it has its control stream and no other: a certificate of the fleet's CA alone opens nothing. Links that
        nobody dialled to us with hawse-peer/1 are ignored.
        """

    def announce_peer(self, link: int, distance: int, add: Sequence[str], remove: Sequence[str]) -> None:
        """Exit node with visitors: this link, which we dialled, reaches these tunnels too, and those no longer.

        `remove` first. `distance` is the whole link's: 0 own region, 1 another; the nearest is asked first. At most
        20,000 tunnels a link, the rest is ignored; links that we did not dial with hawse-peer/1 are ignored. A link's
        tunnels go with it.
        """

    def attach(self, link: int, attach: bytes) -> None:
        """Agent: where the app of each tunnel listens (replaces the link's last list). Payload Attach."""

    def apply(self, obj: bytes) -> str:
        """Upsert of an ir.Object: "" or why it was refused (the last good form then stays)."""

    def remove(self, key: str) -> None:
        """Remove an object by its key ("tunnel/<uid>")."""

    def put_certificate(self, id: str, chain_pem: bytes, key_pem: bytes) -> str:  # noqa: A002
        """Install or replace a certificate that Fleet.certificate_id may name: "" or why it was refused."""

    def set_stale(self, says: str) -> None:
        """Exit node: from now on visitors reach no agent and get HAWSE-1017 with these words; "" = they do again."""

    def put_material(self, id: str, data: bytes) -> str:  # noqa: A002
        """Install or replace secret bytes that are no certificate: "" or why what names them can't be enforced."""

    def snapshot(self) -> bytes:
        """Counters and gauges. Payload Snapshot."""

    def close(self) -> None:
        """Close listeners and links, join the runtime. Idempotent."""
