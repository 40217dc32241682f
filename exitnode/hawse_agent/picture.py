"""What an agent does right now, put together from its tables and the core's counters. Pure. Drawn by render.py."""

from hawse_agent import render, session_state
from hawse_api.ir import core_pb2

_STATES = {
    session_state.Phase.UP: "connected",
    session_state.Phase.DRAINING: "draining",
    session_state.Phase.GREETING: "connecting",
    session_state.Phase.DIALLING: "connecting",
    session_state.Phase.WAITING: "waiting",
}


def build_picture(
    state: session_state.State, snapshot: core_pb2.Snapshot, *, uptime_s: float, certificate_expires: str
) -> render.Picture:
    """The picture. Counters are sums over the links that are up."""
    stats = {one.link: one for one in snapshot.links}
    return render.Picture(
        token=state.token,
        routes=state.serving,
        nodes=tuple(_node(node, stats.get(node.link)) for node in state.nodes),
        streams_open=sum(one.streams_open for one in snapshot.links),
        streams_total=sum(one.streams_total for one in snapshot.links),
        bytes_in=sum(one.bytes_in for one in snapshot.links),
        bytes_out=sum(one.bytes_out for one in snapshot.links),
        uptime_s=uptime_s,
        certificate_expires=certificate_expires,
    )


def _node(node: session_state.Node, stats: core_pb2.LinkStats | None) -> render.NodePicture:
    return render.NodePicture(
        name=node.exit_node,
        region=node.region,
        address=node.address,
        state=_STATES[node.phase],
        transport=node.transport.value,
        rtt_ms=stats.rtt_ms if stats else 0,
        why=node.failure.why if node.failure else "",
    )
