"""What is in force after each message of the operator, with a plane that can refuse."""

import pytest

from hawse_api.ir import control_pb2, ir_pb2
from hawse_exitnode.holdings import Held, Holdings, must_close


class Plane:
    """Holds what it accepts; refuses hostnames that begin with "bad", and everything for "worst"."""

    def __init__(self) -> None:
        self.objects: dict[str, ir_pb2.Object] = {}
        self.certificates: dict[str, bytes] = {}
        self.log: list[str] = []

    def apply(self, obj: ir_pb2.Object) -> str:
        self.log.append(f"apply {obj.key}")
        hostname = obj.tunnel.hostname
        if hostname.startswith("worst") or (hostname.startswith("bad") and not obj.tunnel.HasField("closed")):
            return f"{hostname}: not a hostname"
        self.objects[obj.key] = obj
        return ""

    def remove(self, key: str) -> None:
        self.log.append(f"remove {key}")
        self.objects.pop(key, None)

    def put_certificate(self, id: str, chain_pem: bytes, key_pem: bytes) -> str:  # noqa: A002
        self.log.append(f"certificate {id}")
        if chain_pem == b"bad":
            return "not a certificate"
        self.certificates[id] = chain_pem
        return ""

    def put_material(self, id: str, data: bytes) -> str:  # noqa: A002
        self.log.append(f"material {id}")
        return "not readable" if data == b"bad" else ""


def tunnel(hostname: str = "shop.example.com", **fields: object) -> ir_pb2.Object:
    made = ir_pb2.Tunnel(uid="1", namespace="team-a", name="shop", hostname=hostname, holder_generation=1)
    made.agent.token_uid = str(fields.get("token_uid", "t1"))
    made.required_features.extend(fields.get("features", []))  # type: ignore[arg-type]
    if fields.get("closed"):
        made.closed.code = "HAWSE-1008"
    made.timeouts.request_ms = int(fields.get("request_ms", 0))  # type: ignore[call-overload]
    return ir_pb2.Object(key="tunnel/1", tunnel=made)


def material(name: str = "certificate/a", chain: bytes = b"chain") -> control_pb2.Material:
    return control_pb2.Material(id=name, sha256="m1", chain_pem=chain, key_pem=b"key")


@pytest.fixture
def plane() -> Plane:
    return Plane()


@pytest.fixture
def holdings(plane: Plane) -> Holdings:
    return Holdings(plane, "0.1.0")


def test_an_accepted_object_is_held_under_the_operators_hash(holdings: Holdings) -> None:
    assert holdings.upsert(tunnel(), "h1") == control_pb2.Ack(key="tunnel/1", hash="h1")
    assert holdings.have() == {"tunnel/1": "h1"}


def test_a_bad_edit_keeps_the_last_good_form_and_asks_for_the_new_one_again(holdings: Holdings, plane: Plane) -> None:
    holdings.upsert(tunnel(), "h1")
    plane.apply = lambda obj: "timeouts: too long"  # type: ignore[method-assign]
    ack = holdings.upsert(tunnel(request_ms=1), "h2")
    assert (ack.hash, ack.error) == ("h2", "timeouts: too long")
    assert holdings.have() == {"tunnel/1": "h1"}
    assert not plane.objects["tunnel/1"].tunnel.HasField("closed")


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(tunnel("bad.example.com"), id="hostname"),
        pytest.param(tunnel("bad.example.com", token_uid="t2"), id="token"),
    ],
)
def test_a_refused_change_of_who_may_serve_closes_the_tunnel(
    holdings: Holdings, plane: Plane, new: ir_pb2.Object
) -> None:
    holdings.upsert(tunnel(), "h1")
    ack = holdings.upsert(new, "h2")
    assert "the tunnel is closed" in ack.error
    assert plane.objects["tunnel/1"].tunnel.closed.code == "HAWSE-1008"
    assert holdings.have() == {}, "so that the operator sends it again"
    assert holdings.upsert(tunnel(), "h3").error == ""
    assert not plane.objects["tunnel/1"].tunnel.HasField("closed")


def test_a_tunnel_that_cannot_even_be_closed_is_removed(holdings: Holdings, plane: Plane) -> None:
    holdings.upsert(tunnel(), "h1")
    holdings.upsert(tunnel("worst.example.com"), "h2")
    assert plane.objects == {}
    assert holdings.objects == {}


def test_a_refused_new_tunnel_serves_nothing(holdings: Holdings, plane: Plane) -> None:
    assert holdings.upsert(tunnel("bad.example.com"), "h1").error == "bad.example.com: not a hostname"
    assert plane.objects == {}


def test_a_tunnel_that_needs_an_unknown_feature_is_closed_and_the_feature_is_named(
    holdings: Holdings, plane: Plane
) -> None:
    ack = holdings.upsert(tunnel(features=["oidc", "jwt"]), "h1")
    assert ack.error == "exit node 0.1.0 lacks jwt, oidc; the tunnel is closed here. Update the exit node."
    assert plane.objects["tunnel/1"].tunnel.closed.code == "HAWSE-1008"
    known = Holdings(plane, "0.2.0", frozenset({"oidc", "jwt"}))
    assert known.upsert(tunnel(features=["oidc"]), "h1").error == ""


def test_removals_take_effect_at_the_end_of_the_snapshot_only(holdings: Holdings, plane: Plane) -> None:
    holdings.restore({"tunnel/1": Held(tunnel(), "h1")}, [material()], term=3)
    assert holdings.complete
    assert "tunnel/1" in plane.objects
    acks = holdings.end_of_snapshot(["fleet"])
    assert sorted(ack.key for ack in acks) == ["material/certificate/a", "tunnel/1"]
    assert all(not ack.hash and not ack.error for ack in acks)
    assert plane.objects == {}
    assert holdings.have() == {}


def test_a_removal_is_acknowledged_without_a_hash(holdings: Holdings) -> None:
    holdings.upsert(tunnel(), "h1")
    assert holdings.remove("tunnel/1") == control_pb2.Ack(key="tunnel/1")


def test_a_refused_certificate_leaves_the_last_good_one(holdings: Holdings, plane: Plane) -> None:
    assert holdings.put_material(material()).error == ""
    ack = holdings.put_material(material(chain=b"bad"))
    assert (ack.key, ack.error) == ("material/certificate/a", "not a certificate")
    assert plane.certificates == {"certificate/a": b"chain"}
    assert holdings.have() == {"material/certificate/a": "m1"}


def access(name: str = "staff") -> ir_pb2.Object:
    return ir_pb2.Object(key="access/p1", access=ir_pb2.AccessPolicy(uid="p1", name=name))


def test_a_policy_that_was_refused_is_held_as_it_is_now_and_asked_for_again(holdings: Holdings, plane: Plane) -> None:
    holdings.upsert(access(), "h1")
    plane.apply = lambda _obj: "no network"  # type: ignore[method-assign]
    assert holdings.upsert(access("changed"), "h2") == control_pb2.Ack(key="access/p1", hash="h2", error="no network")
    assert holdings.objects["access/p1"] == Held(access("changed"), ""), "the old form would come back with a restart"
    assert holdings.have() == {}


def test_secret_bytes_that_cannot_be_read_count_as_they_are(holdings: Holdings) -> None:
    secret = control_pb2.Material(id="access/p1/basic", sha256="m2", data=b"bad")
    ack = holdings.put_material(secret)
    assert (ack.key, ack.error) == ("material/access/p1/basic", "not readable")
    assert holdings.have() == {"material/access/p1/basic": "m2"}


def test_a_refused_edit_of_who_may_come_in_closes_the_tunnel() -> None:
    edited = tunnel("bad.example.com")
    edited.tunnel.access_policy_uids.append("p1")
    assert must_close(Held(tunnel("bad.example.com"), "h1"), edited)
    assert not must_close(Held(edited, "h1"), edited)


def test_what_was_kept_is_applied_in_the_safe_order(holdings: Holdings, plane: Plane) -> None:
    fleet = ir_pb2.Object(key="fleet", fleet=ir_pb2.Fleet(name="default"))
    token = ir_pb2.Object(key="token/t1", token=ir_pb2.AgentToken(uid="t1"))
    kept = {
        "tunnel/1": Held(tunnel(), "h1"),
        "access/p1": Held(access(), "h0"),
        "token/t1": Held(token, "h2"),
        "fleet": Held(fleet, "h3"),
    }
    assert holdings.restore(kept, [material()], term=7) == []
    assert plane.log == [
        "certificate certificate/a",
        "apply fleet",
        "apply token/t1",
        "apply access/p1",
        "apply tunnel/1",
    ]
    assert (holdings.term, len(holdings.have())) == (7, 5)


def test_replacing_everything_removes_the_rest_and_names_what_is_refused(holdings: Holdings, plane: Plane) -> None:
    holdings.upsert(ir_pb2.Object(key="tunnel/9", tunnel=ir_pb2.Tunnel(uid="9")), "h")
    errors = holdings.replace_all([tunnel("bad.example.com")], [material(chain=b"bad")])
    assert errors == [
        "material/certificate/a: not a certificate",
        "tunnel/1: bad.example.com: not a hostname",
    ]
    assert plane.objects == {}


def test_the_bound_of_the_operators_silence_is_the_fleets(holdings: Holdings) -> None:
    assert holdings.max_staleness_s == 0
    holdings.upsert(ir_pb2.Object(key="fleet", fleet=ir_pb2.Fleet(max_staleness_ms=90_500)), "f1")
    assert holdings.max_staleness_s == 90.5


@pytest.mark.parametrize("side", ["target", "standby", "none"])
def test_a_target_or_a_standby_that_is_dialled_directly_needs_no_agent(holdings: Holdings, side: str) -> None:
    shop, url = tunnel(), ir_pb2.UrlTarget(scheme="https", host="eu.example.com", port=443)
    if side == "target":
        shop.tunnel.direct.CopyFrom(url)
    elif side == "standby":
        shop.tunnel.standby.direct.CopyFrom(url)
    holdings.upsert(shop, "h1")
    holdings.upsert(ir_pb2.Object(key="fleet", fleet=ir_pb2.Fleet()), "f1")
    assert holdings.dials_itself() is (side != "none")


def test_every_change_is_announced() -> None:
    changes: list[int] = []
    holdings = Holdings(Plane(), "0.1.0", on_change=lambda: changes.append(1))
    holdings.put_material(material())
    holdings.upsert(tunnel(), "h1")
    holdings.remove("tunnel/1")
    assert len(changes) == 3
    holdings.end_of_snapshot([])
    assert holdings.directory().tokens == {}


def test_peers_come_from_the_configuration_in_an_order_that_does_not_change(holdings: Holdings) -> None:
    for uid in ("p2", "p1"):
        peer = ir_pb2.Peer(uid=uid, pod=f"pod-{uid}", exit_node="eu-1", region="eu", address="a:1", spiffe_id="s")
        holdings.upsert(ir_pb2.Object(key=f"peer/{uid}", peer=peer), "h")
    holdings.upsert(tunnel(), "h")
    assert [(one.uid, one.pod, one.region, one.address) for one in holdings.peers()] == [
        ("p1", "pod-p1", "eu", "a:1"),
        ("p2", "pod-p2", "eu", "a:1"),
    ]
    holdings.remove("peer/p1")
    assert [one.uid for one in holdings.peers()] == ["p2"]
