"""Prometheus metrics, read from the core's snapshot at each scrape (docs: names below are API). Used by `admin`.

Tunnels are labelled by namespace and name, never by hostname; a tunnel that was removed disappears. Nothing is counted
twice in Python: the data plane counts, this module names.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hawse_api.ir import core_pb2
from hawse_exitnode.peer_traffic import ByRegion

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that a scrape shows."""

    snapshot: core_pb2.Snapshot
    tunnels: Mapping[str, tuple[str, str]]
    """UID -> (namespace, name)."""
    tcp_tunnels: frozenset[str]
    """UIDs of those whose visitors come by TCP."""
    sessions: int
    synced: bool
    age_s: float
    """For how long the operator has been silent."""
    term: int
    objects: Mapping[str, int]
    """Kind -> count."""
    certificate_expires_at: float
    """Unix seconds; 0 = no certificate yet."""
    peers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Region -> (reached, listed)."""
    peer_links: int = 0
    """Both directions."""
    carried: ByRegion = field(default_factory=dict)
    sign_ins: Mapping[str, int] = field(default_factory=dict)
    """What became of visitors' sign-ins -> count."""


class NodeCollector(Collector):
    """Translates a reading."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus_client for each scrape."""
        reading = self._read()
        yield from _edge(reading.snapshot)
        yield from _tunnels(reading)
        yield from _standbys(reading)
        yield from _shields(reading)
        yield from _peers(reading)
        yield from _node(reading)


def build_registry(read: Callable[[], Reading]) -> CollectorRegistry:
    """A registry of its own: nothing of the process's default one."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(read))
    return registry


def _edge(snapshot: core_pb2.Snapshot) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "hawse_edge_connections_open", "Visitors' connections that are open.", value=snapshot.connections_open
    )
    for name, text, value in (
        ("hawse_edge_connections", "Visitors' connections accepted.", snapshot.connections_total),
        ("hawse_edge_connections_refused", "Connections refused at a limit.", snapshot.connections_refused),
        ("hawse_edge_handshakes_failed", "TLS handshakes that failed.", snapshot.handshakes_failed),
        ("hawse_edge_unknown_host", "Requests that met no tunnel.", snapshot.unknown_host),
        ("hawse_core_events_dropped", "Events of the core that Python did not take.", snapshot.events_dropped),
    ):
        yield CounterMetricFamily(name, text, value=value)


def _tunnels(reading: Reading) -> Iterable[Metric]:
    labels = ["namespace", "tunnel"]
    requests = CounterMetricFamily("hawse_tunnel_requests", "Requests by class of status.", labels=[*labels, "class"])
    connections = CounterMetricFamily("hawse_tunnel_connections", "Connections of TCP tunnels.", labels=labels)
    errors = CounterMetricFamily(
        "hawse_tunnel_errors", "Answers of the edge itself, resets of TCP tunnels.", labels=[*labels, "code"]
    )
    moved = CounterMetricFamily(
        "hawse_tunnel_bytes", "Bytes to (in) and from (out) apps.", labels=[*labels, "direction"]
    )
    in_flight = GaugeMetricFamily(
        "hawse_tunnel_requests_in_flight",
        "Requests, and connections of TCP tunnels, that have not ended, with those that wait.",
        labels=labels,
    )
    queued = GaugeMetricFamily(
        "hawse_tunnel_requests_queued", "Requests that wait for a place at the app (maxConcurrent).", labels=labels
    )
    for tunnel in reading.snapshot.tunnels:
        known = reading.tunnels.get(tunnel.tunnel_uid)
        if known is None:
            continue
        for index, count in enumerate(tunnel.by_class):
            if 1 <= index <= 5 and tunnel.tunnel_uid not in reading.tcp_tunnels:
                requests.add_metric([*known, f"{index}xx"], count)
        if tunnel.tunnel_uid in reading.tcp_tunnels:
            connections.add_metric(list(known), tunnel.requests)
        for code, count in tunnel.errors.items():
            errors.add_metric([*known, code], count)
        moved.add_metric([*known, "in"], tunnel.bytes_in)
        moved.add_metric([*known, "out"], tunnel.bytes_out)
        in_flight.add_metric(list(known), tunnel.in_flight)
        queued.add_metric(list(known), tunnel.queued)
    yield from (requests, connections, errors, moved, in_flight, queued)


def _standbys(reading: Reading) -> Iterable[Metric]:
    labels = ["namespace", "tunnel"]
    active = GaugeMetricFamily(
        "hawse_tunnel_standby_active", "1: the standby answers. Only tunnels that have one.", labels=labels
    )
    requests = CounterMetricFamily(
        "hawse_tunnel_standby_requests", "Requests that the standby answered.", labels=labels
    )
    turns = CounterMetricFamily("hawse_tunnel_target_turns", "Turns to a target.", labels=[*labels, "to"])
    repeated = CounterMetricFamily(
        "hawse_tunnel_repeated", "Requests sent to the other target after the first had failed them.", labels=labels
    )
    checks = CounterMetricFamily("hawse_tunnel_checks", "Health checks of the target.", labels=[*labels, "result"])
    for tunnel in reading.snapshot.tunnels:
        known = reading.tunnels.get(tunnel.tunnel_uid)
        if known is None or not tunnel.HasField("standby"):
            continue
        counted = tunnel.standby
        active.add_metric(list(known), counted.active)
        requests.add_metric(list(known), counted.requests)
        turns.add_metric([*known, "standby"], counted.failovers)
        turns.add_metric([*known, "primary"], counted.failbacks)
        repeated.add_metric(list(known), counted.repeated)
        checks.add_metric([*known, "passed"], counted.checks_passed)
        checks.add_metric([*known, "failed"], counted.checks_failed)
    yield from (active, requests, turns, repeated, checks)


def _peers(reading: Reading) -> Iterable[Metric]:
    reached = GaugeMetricFamily("hawse_peers", "Other exit nodes whose agents are reached.", labels=["region"])
    listed = GaugeMetricFamily("hawse_peers_listed", "Other exit nodes of the fleet.", labels=["region"])
    for region, (up, all_) in sorted(reading.peers.items()):
        reached.add_metric([region], up)
        listed.add_metric([region], all_)
    streams = CounterMetricFamily(
        "hawse_peer_streams", "Streams opened for visitors here to agents at other exit nodes.", labels=["region"]
    )
    moved = CounterMetricFamily(
        "hawse_peer_bytes", "Bytes to (in) and from (out) agents at other exit nodes.", labels=["region", "direction"]
    )
    for region, carried in sorted(reading.carried.items()):
        streams.add_metric([region], carried.streams)
        moved.add_metric([region, "in"], carried.bytes_in)
        moved.add_metric([region, "out"], carried.bytes_out)
    yield from (reached, listed, streams, moved)


def _shields(reading: Reading) -> Iterable[Metric]:
    labels = ["namespace", "tunnel"]
    answers = CounterMetricFamily(
        "hawse_tunnel_shield_requests",
        "Requests of tunnels with a shield, by what became of them.",
        labels=[*labels, "result"],
    )
    held = GaugeMetricFamily("hawse_tunnel_shield_stored_bytes", "Bytes of stored answers.", labels=labels)
    for tunnel in reading.snapshot.tunnels:
        known = reading.tunnels.get(tunnel.tunnel_uid)
        if known is None or not tunnel.HasField("shield"):
            continue
        counted = tunnel.shield
        for result, count in (
            ("hit", counted.hits),
            ("miss", counted.misses),
            ("collapsed", counted.collapsed),
            ("stale", counted.stale),
            ("bypassed", counted.bypassed),
        ):
            answers.add_metric([*known, result], count)
        held.add_metric(list(known), counted.bytes)
    yield from (answers, held)


def _node(reading: Reading) -> Iterable[Metric]:
    sign_ins = CounterMetricFamily(
        "hawse_sign_ins",
        "Visitors' sign-ins, renewals and sign-outs at this exit node, by what became of them.",
        labels=["outcome"],
    )
    for outcome, count in sorted(reading.sign_ins.items()):
        sign_ins.add_metric([outcome], count)
    yield sign_ins
    yield GaugeMetricFamily("hawse_sessions", "Agents' sessions on this exit node.", value=reading.sessions)
    yield GaugeMetricFamily(
        "hawse_links_open",
        "Agents' connections, also before admission.",
        value=len(reading.snapshot.links) - reading.peer_links,
    )
    yield GaugeMetricFamily(
        "hawse_control_synced", "1: the operator's configuration is in force.", value=reading.synced
    )
    yield GaugeMetricFamily(
        "hawse_configuration_age_seconds",
        "How long the operator has been silent; 0: its configuration is in force.",
        value=reading.age_s,
    )
    yield GaugeMetricFamily("hawse_control_term", "Term of the operator that was obeyed last.", value=reading.term)
    yield GaugeMetricFamily(
        "hawse_certificate_expires_timestamp_seconds",
        "When this exit node's certificate ends.",
        value=reading.certificate_expires_at,
    )
    held = GaugeMetricFamily("hawse_configuration_objects", "Objects in force.", labels=["kind"])
    for kind, count in sorted(reading.objects.items()):
        held.add_metric([kind], count)
    yield held
