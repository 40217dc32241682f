"""The fleet's DNS on a real PowerDNS: weights, nearness, health, ownership; with and without the operator."""

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.name
import dns.rdatatype
import pytest

from support import powerdns
from support.dns_fleet import CLIENTS, DOMAIN, WILDCARD, DnsFleet, names_of, secret
from support.operator import (
    SYSTEM,
    Api,
    Operator,
    cluster_with_crds,
    exit_node,
    namespace,
    running,
    token,
    tunnel,
    wait_for,
)

pytestmark = pytest.mark.timeout(180)
QUERIES = 2_000
CRD = Path(__file__).parents[1] / "support" / "dnsendpoint-crd.yaml"
WEIGHTS = {"eu": 60, "us": 30, "ap": 10}
UPDATES = {"dnsupdate": "yes", "allow_dnsupdate_from": "127.0.0.0/8", "allow_axfr_ips": "", "disable_axfr": "no"}
FAST = {"HAWSE_DNS_POLL_SECONDS": "1", "HAWSE_SECRET_POLL_SECONDS": "1"}


@dataclass(frozen=True)
class Scene:
    fleet: DnsFleet
    server: powerdns.PowerDns
    api: Api


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("dns")
    with powerdns.running(directory / "dns", **UPDATES) as server, cluster_with_crds(directory / "cluster") as cluster:
        api = Api(cluster)
        fleet = DnsFleet(api, powerdns.free_port())
        resolver = f"{server.address}:{server.port}"
        with contextlib.closing(fleet), running(cluster, HAWSE_RESOLVERS=resolver, **FAST) as operator:
            fleet.operator = operator
            api.apply(secret("dns-key", **{"api-key": server.key}))
            fleet.fleet(fleet.power_dns(server))
            for region, weight in WEIGHTS.items():
                fleet.exit_node(region, weight=weight)
                fleet.ready(region)
            api.apply(namespace("team-a"), token("laptop", "team-a"))
            fleet.dns_ready("Published")
            text = "{{6,'127.0.77.1'},{3,'127.0.77.2'},{1,'127.0.77.3'}}"
            wait_for("weights in the zone", lambda: text in " ".join(server.rrsets(DOMAIN)[f"{WILDCARD}.", "LUA"]))
            fleet.warm(server, f"warm.{DOMAIN}")
            yield Scene(fleet, server, api)


def test_look_ups_follow_the_weights_of_the_exit_nodes(scene: Scene) -> None:
    counts = scene.server.count(names_of(QUERIES))
    expected = {scene.fleet.addresses[region]: float(weight) for region, weight in WEIGHTS.items()}
    statistic = powerdns.chi_square(counts, expected)
    print(f"\n{QUERIES} look-ups by {WEIGHTS}: {dict(counts)}, chi-square {statistic:.2f}")
    assert statistic < powerdns.CHI_SQUARE[2]


def test_a_fleet_without_placements_has_three_records_and_their_owners(scene: Scene) -> None:
    found = scene.server.rrsets(DOMAIN)
    lua = {name for name, type_ in found if type_ == "LUA"}
    assert lua == {f"{DOMAIN}.", f"{WILDCARD}.", f"connect.{DOMAIN}."}
    assert found[f"{DOMAIN}.", "NS"] == ["ns1.example.net."]
    owners = [contents for (_, type_), contents in found.items() if type_ == "TXT"]
    assert len(owners) == 3
    assert all(text.startswith('"heritage=hawse,owner=') for (text,) in owners)


def test_a_second_reconcile_writes_nothing(scene: Scene) -> None:
    before, runs = scene.server.serial(DOMAIN), reconciles(scene)
    wait_for("three more runs", lambda: reconciles(scene) >= runs + 3)
    assert scene.server.serial(DOMAIN) == before


def reconciles(scene: Scene) -> float:
    assert scene.fleet.operator is not None
    text = scene.fleet.operator.ask("/metrics").text
    line = next(line for line in text.splitlines() if line.startswith('hawse_operator_reconciles_total{kind="dns"'))
    return float(line.rsplit(" ", 1)[1])


def test_a_drained_region_gets_nothing_and_comes_back(scene: Scene) -> None:
    fleet, server = scene.fleet, scene.server
    fleet.change(server, WILDCARD, lambda: fleet.exit_node("us", weight=30, drain=True))
    counts = fleet.counts(server, names_of(QUERIES, "d"))
    assert set(counts) == {"eu", "ap"}
    statistic = powerdns.chi_square(
        server.count(names_of(600, "e")), {fleet.addresses["eu"]: 6.0, fleet.addresses["ap"]: 1.0}
    )
    assert statistic < powerdns.CHI_SQUARE[1]
    wait_for("the status", lambda: (scene.api.get("exitnode", "us-1") or {})["status"]["effectiveWeight"] == 0)
    assert fleet.operator is not None
    metrics = fleet.operator.ask("/metrics").text
    assert 'hawse_operator_exit_node_weight{exit_node="us-1",kind="effective"} 0.0' in metrics
    assert 'hawse_operator_exit_node_weight{exit_node="us-1",kind="asked"} 30.0' in metrics
    assert 'hawse_operator_dns_ready{fleet="default"} 1.0' in metrics
    fleet.change(server, WILDCARD, lambda: fleet.exit_node("us", weight=30))
    assert "us" in fleet.counts(server, names_of(200, "f"))


def test_a_region_whose_pod_is_not_ready_gets_nothing(scene: Scene) -> None:
    fleet, server = scene.fleet, scene.server
    fleet.change(server, WILDCARD, lambda: fleet.ready("eu", False))
    assert set(fleet.counts(server, names_of(300, "g"))) == {"us", "ap"}
    fleet.change(server, WILDCARD, lambda: fleet.ready("eu"))
    assert "eu" in fleet.counts(server, names_of(100, "h"))


def placed(scene: Scene, name: str, policy: str, **regions: int) -> str:
    """A Tunnel with a placement; returns its host name once the record is there."""
    listed = [{"name": region, "weight": weight} for region, weight in regions.items()]
    sticky = policy == "Sticky"
    placement = {"policy": "Weighted" if sticky else policy, "regions": listed, "sticky": sticky}
    hostname = f"{name}.{DOMAIN}"
    scene.fleet.change(scene.server, hostname, lambda: scene.api.apply(tunnel(name, "team-a", placement=placement)))
    scene.fleet.dns_ready("Published", "tunnel", name, "team-a")
    scene.server.addresses(hostname)
    return hostname


def test_a_placement_has_its_own_weights_and_the_status_says_them(scene: Scene) -> None:
    hostname = placed(scene, "weighted", "Weighted", us=3, ap=1)
    counts = scene.server.count([hostname] * QUERIES, client=CLIENTS["eu"])
    expected = {scene.fleet.addresses["us"]: 90.0, scene.fleet.addresses["ap"]: 10.0}
    assert powerdns.chi_square(counts, expected) < powerdns.CHI_SQUARE[1]
    status = (scene.api.get("tunnel", "weighted", "team-a") or {})["status"]
    by_name = {region["name"]: region for region in status["regions"]}
    assert (by_name["us"]["weight"], by_name["us"]["effectiveWeight"]) == (90, 90)
    assert by_name["us"]["addresses"] == [scene.fleet.addresses["us"]]


def test_nearest_leads_clients_to_their_region_and_others_by_weight(scene: Scene) -> None:
    hostname = placed(scene, "nearest", "Nearest")
    fleet, server = scene.fleet, scene.server
    assert fleet.counts(server, [hostname] * 200, client=CLIENTS["eu"]) == {"eu": 200}
    assert fleet.counts(server, [hostname] * 200, client=CLIENTS["us"]) == {"us": 200}
    counts = server.count([hostname] * QUERIES, client=CLIENTS["elsewhere"])
    expected = {fleet.addresses[region]: float(weight) for region, weight in WEIGHTS.items()}
    assert powerdns.chi_square(counts, expected) < powerdns.CHI_SQUARE[2]


def test_agents_are_led_to_the_nearest_region_that_is_up(scene: Scene) -> None:
    fleet, server, name = scene.fleet, scene.server, f"connect.{DOMAIN}"
    assert server.addresses(name) == sorted(fleet.addresses.values())
    assert server.addresses(name, client=CLIENTS["us"]) == [fleet.addresses["us"]]
    fleet.listeners["us"].stop()
    wait_for("the next nearest", lambda: server.addresses(name, client=CLIENTS["us"]) == [fleet.addresses["eu"]])
    fleet.listeners["us"].start()
    wait_for("the nearest again", lambda: server.addresses(name, client=CLIENTS["us"]) == [fleet.addresses["us"]])


def test_a_sticky_client_network_keeps_its_exit_node_when_another_dies(scene: Scene) -> None:
    hostname = placed(scene, "sticky", "Sticky", eu=1, us=2, ap=6)
    fleet, server = scene.fleet, scene.server
    clients = [f"10.{100 + number // 250}.{number % 250}.0" for number in range(300)]

    def answers() -> dict[str, str]:
        return {client: server.addresses(hostname, client=client)[0] for client in clients}

    first = answers()
    assert answers() == first
    assert len(set(first.values())) == 3
    fleet.listeners["us"].stop()
    wait_for("nobody is led to us", lambda: fleet.addresses["us"] not in answers().values())
    after = answers()
    assert all(after[client] == address for client, address in first.items() if address != fleet.addresses["us"])
    fleet.listeners["us"].start()
    wait_for("all are back where they were", lambda: answers() == first)


def test_failover_keeps_the_order_and_all_down_still_answers(scene: Scene) -> None:
    hostname = placed(scene, "failover", "Failover", ap=1, us=1)
    fleet, server = scene.fleet, scene.server
    wait_for("checked", lambda: fleet.counts(server, [hostname] * 5) == {"ap": 5})
    fleet.listeners["ap"].stop()
    wait_for("the second", lambda: fleet.counts(server, [hostname] * 5) == {"us": 5})
    fleet.listeners["us"].stop()
    wait_for("a guess", lambda: fleet.counts(server, [hostname] * 5) == {"ap": 5})
    for region in ("ap", "us"):
        fleet.listeners[region].start()
    wait_for("the first again", lambda: fleet.counts(server, [hostname] * 20) == {"ap": 20})


def test_a_region_that_does_not_exist_is_reported_and_the_tunnel_still_served(scene: Scene) -> None:
    hostname = placed(scene, "mars", "Weighted", eu=1, mars=1)
    reason = scene.api.wait_reason("tunnel", "mars", "ResolvedRefs", "RegionNotFound", "team-a")
    assert "mars" in reason["message"]
    assert set(scene.fleet.counts(scene.server, [hostname] * 50)) == {"eu"}


def test_answers_validate_against_the_ds_in_the_status(scene: Scene) -> None:
    (ds,) = wait_for("DS", lambda: (scene.api.get("fleet", "default") or {})["status"].get("dsRecords"))
    origin = dns.name.from_text(DOMAIN)
    answer = scene.server.ask(DOMAIN, "DNSKEY", dnssec=True).answer
    keys = next(rrset for rrset in answer if rrset.rdtype == dns.rdatatype.DNSKEY)
    signatures = next(rrset for rrset in answer if rrset.rdtype == dns.rdatatype.RRSIG)
    assert ds == f"{DOMAIN}. IN DS {dns.dnssec.make_ds(origin, keys[0], 'SHA256')}"
    dns.dnssec.validate(keys, signatures, {origin: keys})
    for name in (f"any.{DOMAIN}", DOMAIN, f"weighted.{DOMAIN}"):
        answer = scene.server.ask(name, "A", dnssec=True).answer
        addresses = next(rrset for rrset in answer if rrset.rdtype == dns.rdatatype.A)
        signatures = next(rrset for rrset in answer if rrset.rdtype == dns.rdatatype.RRSIG)
        dns.dnssec.validate(addresses, signatures, {origin: keys})


def test_a_record_removed_by_hand_comes_back(scene: Scene) -> None:
    before = scene.server.rrsets(DOMAIN)
    scene.server.put(DOMAIN, WILDCARD, "LUA")
    wait_for("it is back", lambda: scene.server.rrsets(DOMAIN) == before)


def test_a_foreign_record_is_untouched_and_the_condition_says_so(scene: Scene) -> None:
    name = f"theirs.{DOMAIN}"
    scene.server.put(DOMAIN, name, "A", "198.51.100.7")
    scene.api.apply(tunnel("theirs", "team-a", placement={"policy": "Nearest"}))
    told = scene.fleet.dns_ready("ForeignRecord", "tunnel", "theirs", "team-a")
    assert name in told["message"]
    assert scene.server.addresses(name) == ["198.51.100.7"]
    scene.server.put(DOMAIN, name, "A")
    scene.fleet.dns_ready("Published", "tunnel", "theirs", "team-a")
    assert scene.server.addresses(name)[0] in scene.fleet.addresses.values()


def test_a_deleted_tunnels_record_goes(scene: Scene) -> None:
    hostname = placed(scene, "gone", "Weighted", ap=1)
    scene.api.delete("tunnel", "gone", "team-a")
    wait_for("no record of its own", lambda: not any("gone." in name for name, _ in scene.server.rrsets(DOMAIN)))
    assert set(scene.fleet.counts(scene.server, [hostname] * 60)) > {"ap"}, "the wildcard answers again"


def test_a_wrong_key_and_a_dead_server_are_told_and_healed(scene: Scene) -> None:
    fleet, server = scene.fleet, scene.server
    scene.api.apply(secret("dns-key", **{"api-key": "wrong-secret"}))
    told = fleet.dns_ready("KeyRefused")
    assert "powerDNS.apiKeyRef" in told["message"]
    scene.api.apply(secret("dns-key", **{"api-key": server.key}))
    fleet.dns_ready("Published")
    server.stop()
    told = fleet.dns_ready("ServerUnreachable")
    assert server.url in told["message"]
    assert scene.api.condition("fleet", "default", "Ready")["status"] == "True", "DNSReady is shown, not summed"
    server.start()
    fleet.dns_ready("Published")
    assert fleet.operator is not None
    log = fleet.operator.log.read_text()
    assert server.key not in log
    assert "wrong-secret" not in log


def test_a_load_balancer_that_reports_a_name_counts_with_its_addresses(scene: Scene) -> None:
    name = "ap.elb.example"
    scene.server.make_zone("elb.example")
    scene.server.put("elb.example", name, "A", "127.0.77.3", ttl=5)
    body = exit_node("ap-1", "ap", address={"type": "Service", "service": {}}, weight=WEIGHTS["ap"])
    scene.api.apply(body)

    def services() -> list[dict[str, Any]]:
        return scene.api.list("services", "-n", SYSTEM, "-l", "hawse.dev/exit-node=ap-1")

    (service,) = wait_for("its Service", services)
    status = json.dumps({"status": {"loadBalancer": {"ingress": [{"hostname": name}]}}})
    where = ("-n", SYSTEM, "patch", "service", service["metadata"]["name"], "--subresource=status")
    scene.api.cluster.kubectl(*where, "-p", status)

    def has(address: str) -> bool:
        return address in " ".join(scene.server.rrsets(DOMAIN).get((f"{WILDCARD}.", "LUA"), []))

    wait_for("the address of the name", lambda: has("127.0.77.3"))
    scene.fleet.dns_ready("Published", "exitnode", "ap-1")
    scene.server.put("elb.example", name, "A", "127.0.77.9", ttl=5)
    wait_for("the next address of the name", lambda: has("127.0.77.9") and not has("127.0.77.3"))
    scene.fleet.exit_node("ap", weight=WEIGHTS["ap"])
    wait_for("the fixed address", lambda: has("127.0.77.3") and not has("127.0.77.9"))


def test_a_missing_secret_is_named(scene: Scene) -> None:
    scene.fleet.fleet(scene.fleet.power_dns(scene.server, key_from="nobodys"))
    told = scene.fleet.dns_ready("KeyNotFound")
    assert '"nobodys"' in told["message"]
    scene.fleet.fleet(scene.fleet.power_dns(scene.server))
    scene.fleet.dns_ready("Published")


def test_a_dead_region_is_avoided_while_the_operator_is_dead(scene: Scene) -> None:
    fleet, server = scene.fleet, scene.server
    assert fleet.operator is not None
    fleet.operator.end(signal.SIGKILL)
    assert "eu" in fleet.counts(server, names_of(50, "k"))
    times = []
    for number in range(3):
        fleet.listeners["eu"].stop()
        began = time.monotonic()
        last_wrong = began
        while time.monotonic() - last_wrong < 1.2:
            if fleet.addresses["eu"] in server.addresses(f"k{number}-{time.monotonic_ns()}.{DOMAIN}"):
                last_wrong = time.monotonic()
            assert time.monotonic() - began < 15, "new look-ups still lead to a dead region"
        times.append(last_wrong - began)
        fleet.listeners["eu"].start()
        wait_for("eu is back", lambda: "eu" in fleet.counts(server, names_of(20, f"b{time.monotonic_ns()}-")))
    print("\nlast look-up that led to the dead region, seconds after its end:", [f"{one:.2f}" for one in times])
    fleet.operator = Operator(scene.api.cluster, "operator-b", **FAST)
    wait_for(
        "another operator leads", lambda: fleet.operator and fleet.operator.find("serving exit nodes"), timeout_s=45
    )
    runs = wait_for("it looked at DNS", lambda: fleet.operator and fleet.operator.find("DNS stands"))
    assert runs["reason"] == "Published"


def test_a_second_server_gets_the_same_records_and_the_same_key(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fleet, first = scene.fleet, scene.server
    ds = (scene.api.get("fleet", "default") or {})["status"]["dsRecords"]
    with powerdns.running(tmp_path_factory.mktemp("second"), key=first.key) as second:
        fleet.fleet(fleet.power_dns(second, first))
        wait_for("the same records", lambda: second.rrsets(DOMAIN) == first.rrsets(DOMAIN))

        def keys(server: powerdns.PowerDns) -> list[str]:
            return sorted(key["dnskey"] for key in server.api("GET", f"/zones/{DOMAIN}./cryptokeys").json())

        wait_for("the same key", lambda: keys(second) == keys(first))
        assert (scene.api.get("fleet", "default") or {})["status"]["dsRecords"] == ds
        fleet.fleet(fleet.power_dns(first))
        fleet.dns_ready("Published")


def test_a_fleet_that_manages_dns_no_more_takes_its_records_back(scene: Scene) -> None:
    scene.server.put(DOMAIN, f"kept.{DOMAIN}", "A", "198.51.100.8")
    scene.fleet.fleet({"type": "None"})
    scene.fleet.dns_ready("NotManaged")
    left = {(name, type_) for name, type_ in scene.server.rrsets(DOMAIN) if type_ != "NS"}
    assert left == {(f"kept.{DOMAIN}.", "A")}


def test_dynamic_updates_publish_the_healthy_set_and_say_that_weights_are_lost(scene: Scene) -> None:
    scene.server.api("DELETE", f"/zones/{DOMAIN}.")  # PowerDNS transfers no zone whose NSEC3 is narrow
    zone = {"name": f"{DOMAIN}.", "kind": "Master", "nameservers": ["ns1.example.net."]}
    assert scene.server.api("POST", "/zones", zone).status_code == 201
    secret_text = scene.server.allow_updates(DOMAIN, "hawse")
    scene.api.apply(secret("tsig", name="hawse", algorithm="hmac-sha256", secret=secret_text))
    rfc2136 = {"server": scene.server.address, "port": scene.server.port, "tsigKeyRef": {"name": "tsig"}}
    scene.fleet.fleet({"type": "RFC2136", "rfc2136": rfc2136})
    scene.fleet.dns_ready("Published")
    weights = scene.api.wait_reason("fleet", "default", "WeightsHonoured", "ProviderLacksWeights")
    assert weights["status"] == "False"
    assert scene.server.addresses(f"any.{DOMAIN}") == sorted(scene.fleet.addresses.values())
    scene.fleet.ready("us", False)
    others = [scene.fleet.addresses["eu"], scene.fleet.addresses["ap"]]
    wait_for("only ready ones", lambda: scene.server.addresses(f"any.{DOMAIN}") == sorted(others))
    scene.fleet.ready("us")


def test_external_dns_gets_weighted_endpoints(scene: Scene) -> None:
    scene.fleet.fleet({"type": "ExternalDNS", "externalDNS": {}})

    def told() -> str:
        return str(scene.api.condition("fleet", "default", "DNSReady").get("message"))

    wait_for("it says what is missing", lambda: "install external-dns" in told())
    scene.api.cluster.kubectl("apply", "-f", str(CRD))
    scene.fleet.dns_ready("Published")
    scene.api.wait_reason("fleet", "default", "WeightsHonoured", "DependsOnProvider")
    found = scene.api.get("dnsendpoint", "hawse-default", SYSTEM)
    assert found is not None
    wildcard = [entry for entry in found["spec"]["endpoints"] if entry["dnsName"] == WILDCARD]
    shares = {entry["targets"][0]: entry["providerSpecific"][0]["value"] for entry in wildcard}
    assert shares == {scene.fleet.addresses[region]: str(weight // 10) for region, weight in WEIGHTS.items()}
    version, runs = found["metadata"]["resourceVersion"], reconciles(scene)
    wait_for("three more runs", lambda: reconciles(scene) >= runs + 3)
    assert (scene.api.get("dnsendpoint", "hawse-default", SYSTEM) or {})["metadata"]["resourceVersion"] == version
    scene.fleet.fleet({"type": "None"})
    wait_for("it is withdrawn", lambda: scene.api.get("dnsendpoint", "hawse-default", SYSTEM) is None)
