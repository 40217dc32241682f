"""Names of metrics are API: this file lists them."""

from prometheus_client import generate_latest

from hawse_api.ir import core_pb2
from hawse_exitnode import metrics
from hawse_exitnode.peer_traffic import Carried

NAMES = [
    "hawse_certificate_expires_timestamp_seconds",
    "hawse_configuration_age_seconds",
    "hawse_configuration_objects",
    "hawse_control_synced",
    "hawse_sign_ins_total",
    "hawse_control_term",
    "hawse_core_events_dropped_total",
    "hawse_edge_connections_open",
    "hawse_edge_connections_refused_total",
    "hawse_edge_connections_total",
    "hawse_edge_handshakes_failed_total",
    "hawse_edge_unknown_host_total",
    "hawse_links_open",
    "hawse_peer_bytes_total",
    "hawse_peer_streams_total",
    "hawse_peers",
    "hawse_peers_listed",
    "hawse_sessions",
    "hawse_tunnel_bytes_total",
    "hawse_tunnel_checks_total",
    "hawse_tunnel_connections_total",
    "hawse_tunnel_errors_total",
    "hawse_tunnel_repeated_total",
    "hawse_tunnel_requests_in_flight",
    "hawse_tunnel_requests_queued",
    "hawse_tunnel_requests_total",
    "hawse_tunnel_shield_requests_total",
    "hawse_tunnel_shield_stored_bytes",
    "hawse_tunnel_standby_active",
    "hawse_tunnel_standby_requests_total",
    "hawse_tunnel_target_turns_total",
]


def scrape() -> str:
    snapshot = core_pb2.Snapshot(connections_open=2, unknown_host=3)
    snapshot.tunnels.add(
        tunnel_uid="1",
        by_class=[0, 0, 5, 0, 1, 0],
        errors={"HAWSE-1002": 4},
        bytes_in=10,
        bytes_out=20,
        in_flight=5,
        queued=4,
    )
    snapshot.tunnels[0].standby.CopyFrom(
        core_pb2.StandbyCounters(
            active=True, requests=6, failovers=3, failbacks=2, repeated=1, checks_passed=9, checks_failed=8
        )
    )
    snapshot.tunnels[0].shield.CopyFrom(
        core_pb2.ShieldCounters(hits=7, misses=6, collapsed=5, stale=4, bypassed=3, bytes=2)
    )
    snapshot.tunnels.add(tunnel_uid="gone", by_class=[0, 0, 9, 0, 0, 0])
    snapshot.tunnels.add(tunnel_uid="2", requests=7, by_class=[0] * 6)
    snapshot.links.extend(core_pb2.LinkStats(link=number) for number in range(1, 6))
    reading = metrics.Reading(
        snapshot,
        {"1": ("team-a", "shop"), "2": ("team-a", "db")},
        frozenset({"2"}),
        2,
        True,
        90.5,
        7,
        {"tunnel": 1, "fleet": 1},
        1000.0,
        peers={"us-east": (1, 2)},
        peer_links=3,
        carried={"us-east": Carried(8, 9, 11)},
        sign_ins={"signed_in": 12},
    )
    return generate_latest(metrics.build_registry(lambda: reading)).decode()


def test_the_names_are_the_documented_ones() -> None:
    found = {line.split("{")[0].split(" ")[0] for line in scrape().splitlines() if not line.startswith("#")}
    assert sorted(found) == sorted(NAMES)


def test_peers_are_counted_by_region_and_their_links_are_no_agents() -> None:
    text = scrape()
    assert 'hawse_peers{region="us-east"} 1.0' in text
    assert 'hawse_peers_listed{region="us-east"} 2.0' in text
    assert 'hawse_peer_streams_total{region="us-east"} 8.0' in text
    assert 'hawse_peer_bytes_total{direction="in",region="us-east"} 9.0' in text
    assert 'hawse_peer_bytes_total{direction="out",region="us-east"} 11.0' in text
    assert "hawse_links_open 2.0" in text
    assert 'hawse_sign_ins_total{outcome="signed_in"} 12.0' in text


def test_tunnels_are_labelled_by_namespace_and_name_and_removed_ones_disappear() -> None:
    text = scrape()
    assert 'hawse_tunnel_requests_total{class="2xx",namespace="team-a",tunnel="shop"} 5.0' in text
    assert 'hawse_tunnel_errors_total{code="HAWSE-1002",namespace="team-a",tunnel="shop"} 4.0' in text
    assert 'hawse_tunnel_bytes_total{direction="out",namespace="team-a",tunnel="shop"} 20.0' in text
    assert 'hawse_tunnel_requests_in_flight{namespace="team-a",tunnel="shop"} 5.0' in text
    assert 'hawse_tunnel_requests_queued{namespace="team-a",tunnel="shop"} 4.0' in text
    assert 'hawse_tunnel_standby_active{namespace="team-a",tunnel="shop"} 1.0' in text
    assert 'hawse_tunnel_standby_requests_total{namespace="team-a",tunnel="shop"} 6.0' in text
    assert 'hawse_tunnel_target_turns_total{namespace="team-a",to="standby",tunnel="shop"} 3.0' in text
    assert 'hawse_tunnel_target_turns_total{namespace="team-a",to="primary",tunnel="shop"} 2.0' in text
    assert 'hawse_tunnel_repeated_total{namespace="team-a",tunnel="shop"} 1.0' in text
    assert 'hawse_tunnel_checks_total{namespace="team-a",result="failed",tunnel="shop"} 8.0' in text
    assert 'hawse_tunnel_connections_total{namespace="team-a",tunnel="db"} 7.0' in text
    assert 'hawse_tunnel_requests_total{class="2xx",namespace="team-a",tunnel="db"}' not in text
    assert 'hawse_tunnel_connections_total{namespace="team-a",tunnel="shop"}' not in text
    for result, count in (("hit", 7), ("miss", 6), ("collapsed", 5), ("stale", 4), ("bypassed", 3)):
        labels = f'namespace="team-a",result="{result}",tunnel="shop"'
        assert f"hawse_tunnel_shield_requests_total{{{labels}}} {count}.0" in text
    assert 'hawse_tunnel_shield_stored_bytes{namespace="team-a",tunnel="shop"} 2.0' in text
    assert "gone" not in text
    assert "hawse_control_term 7.0" in text
    assert "hawse_configuration_age_seconds 90.5" in text
