"""The operator's gRPC servers with real TLS on loopback, and a raw client that says and hears single messages."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from hawse_api import spiffe
from hawse_api.ir import control_pb2, control_pb2_grpc, frames_pb2, ir_pb2
from hawse_exitnode import keys, operator_api
from hawse_exitnode.errors import OperatorRefusedError, OperatorUnreachableError
from hawse_exitnode.settings import Settings, read_settings
from hawse_operator.control import ca, enrol, relay
from hawse_operator.control import server as control_server
from hawse_operator.control.hub import hash_object
from support import control


def settings_of(op: control.Operator, directory: Path) -> Settings:
    (directory / "ca.crt").write_bytes(ca.roots_pem(op.authority))
    return read_settings(
        {
            "POD_NAME": "pod-a",
            "POD_NAMESPACE": "hawse-system",
            "POD_IP": "127.0.0.1",
            "HAWSE_TOKEN_FILE": str(directory / "token"),
            "HAWSE_CA_FILE": str(directory / "ca.crt"),
            "HAWSE_STATE_DIR": str(directory / "state"),
            "HAWSE_OPERATOR_SERVICE_HOST": op.host,
            "HAWSE_OPERATOR_SERVICE_PORT_ENROL": str(op.enrol_port),
            "HAWSE_OPERATOR_SERVICE_PORT_CONTROL": str(op.control_port),
            "HAWSE_OPERATOR_NAME": control.OPERATOR_NAME,
        }
    )


def identity_of(op: control.Operator, exit_node: str = "eu-west-1", pod: str = "pod-a") -> keys.NodeIdentity:
    op.nodes.add(exit_node, pod)
    fresh = keys.new_key()
    public = ca.parse_csr(fresh.csr)
    assert not isinstance(public, ca.Refused)
    leaf = ca.issue_exit_node(
        op.authority, public, spiffe.ExitNodeId(control.DOMAIN, exit_node, pod), datetime.now(UTC)
    )
    return keys.build_identity(
        fleet=control.FLEET,
        domain=control.DOMAIN,
        region="eu-west",
        chain=ca.chain_of(op.authority, leaf),
        key=fresh.key,
        roots=ca.roots_der(op.authority),
    )


@dataclass(slots=True)
class RawNode:
    """A node that says what the test says."""

    call: Any
    sequences: list[int] = field(default_factory=list)

    async def say(self, **message: Any) -> None:
        await asyncio.wait_for(self.call.write(control_pb2.FromNode(**message)), 10)

    async def hear(self, timeout_s: float = 10) -> control_pb2.FromOperator:
        message = await asyncio.wait_for(self.call.read(), timeout_s)
        assert message is not grpc.aio.EOF, await self.call.details()
        self.sequences.append(message.sequence)
        return message  # type: ignore[no-any-return]

    async def hear_until(self, kind: str) -> list[control_pb2.FromOperator]:
        heard = []
        while not heard or heard[-1].WhichOneof("message") != kind:
            heard.append(await self.hear())
        return heard


@contextlib.asynccontextmanager
async def raw_node(
    op: control.Operator, directory: Path, identity: keys.NodeIdentity | None = None, hello: bool = True, **fields: Any
) -> AsyncIterator[RawNode]:
    identity = identity or identity_of(op)
    channel = operator_api.open_channel(
        settings_of(op, directory),
        op.control_port,
        roots_pem=ca.roots_pem(op.authority),
        key_pem=identity.key_pem(),
        chain_pem=identity.chain_pem(),
    )
    async with channel:
        call: Any = control_pb2_grpc.ControlStub(channel).Connect()  # type: ignore[call-arg]
        node = RawNode(call)
        if hello:
            await node.say(hello=control_pb2.NodeHello(version="0.1.0", **fields))
        try:
            yield node
        finally:
            call.cancel()


def said(messages: list[control_pb2.FromOperator]) -> list[str]:
    return [message.upsert.key or message.material.id or message.remove or "end" for message in messages]


# --- enrolment of exit nodes -----------------------------------------------------------------------------------------
async def test_an_exit_node_trades_its_service_account_token_for_a_certificate(tmp_path: Path) -> None:
    async with control.operator() as op:
        token, fresh = op.nodes.add("eu-west-1", "pod-a"), keys.new_key()
        roots = ca.roots_pem(op.authority)
        response = await operator_api.enrol(settings_of(op, tmp_path), roots_pem=roots, token=token, csr=fresh.csr)
        identity = keys.build_identity(
            fleet=response.fleet,
            domain=response.domain,
            region=response.region,
            chain=response.chain,
            key=fresh.key,
            roots=response.roots,
        )
        assert (identity.exit_node, identity.pod, identity.fleet) == ("eu-west-1", "pod-a", "default")


@pytest.mark.parametrize(
    ("token", "csr", "fails", "error", "words"),
    [
        pytest.param("no", None, False, OperatorRefusedError, "HAWSE-3010: the ServiceAccount token", id="bad token"),
        pytest.param(None, b"x", False, OperatorRefusedError, "HAWSE-3011", id="bad CSR"),
        pytest.param("x" * 17000, None, False, OperatorRefusedError, "too long", id="endless token"),
        pytest.param(None, None, True, OperatorUnreachableError, "cannot ask Kubernetes", id="Kubernetes away"),
    ],
)
async def test_a_refused_enrolment_of_an_exit_node_says_why(
    tmp_path: Path, token: str | None, csr: bytes | None, fails: bool, error: type[Exception], words: str
) -> None:
    async with control.operator() as op:
        good, op.nodes.fails = op.nodes.add("eu-west-1", "pod-a"), fails
        with pytest.raises(error, match=words):
            await operator_api.enrol(
                settings_of(op, tmp_path),
                roots_pem=ca.roots_pem(op.authority),
                token=token or good,
                csr=csr or keys.new_key().csr,
            )


async def test_an_operator_under_another_ca_gets_no_token_shown(tmp_path: Path) -> None:
    async with control.operator() as op:
        other = ca.roots_pem(ca.new_ca(datetime.now(UTC)))
        with pytest.raises(OperatorUnreachableError, match="could not prove that it is hawse-operator"):
            await operator_api.enrol(settings_of(op, tmp_path), roots_pem=other, token="t", csr=keys.new_key().csr)


async def test_an_operator_that_is_not_there_is_named_with_its_address(tmp_path: Path) -> None:
    async with control.operator(start=False) as op:
        settings, roots = settings_of(op, tmp_path), ca.roots_pem(op.authority)
        with pytest.raises(OperatorUnreachableError, match=f"{op.host}:{op.enrol_port} cannot be reached"):
            await operator_api.enrol(settings, roots_pem=roots, token="t", csr=keys.new_key().csr)


# --- the stream ------------------------------------------------------------------------------------------------------
async def test_a_snapshot_ends_with_its_keys_and_changes_follow_in_one_sequence(tmp_path: Path) -> None:
    async with control.operator() as op:
        token = op.add_token("laptop")
        shop = op.add_tunnel("shop", token)
        op.publish_fleet()
        async with raw_node(op, tmp_path) as node:
            heard = await node.hear_until("end_of_snapshot")
            assert said(heard) == [control.CERTIFICATE_ID, "fleet", f"token/{token.uid}", shop.key, "end"]
            assert heard[3].hash == hash_object(shop)
            await node.say(ack=control_pb2.Ack(key=shop.key, hash=heard[3].hash, error="port 0"))
            await node.say(ack=control_pb2.Ack(key="snapshot"))
            await control.until(
                lambda: op.hub.nodes(control.FLEET)["pod-a"].snapshot_done, 5, "the snapshot was not acknowledged"
            )
            assert op.hub.acks(control.FLEET, shop.key)["pod-a"].error == "port 0"
            blog = op.add_tunnel("blog", token)
            op.hub.retract(control.FLEET, shop.key)
            assert said([await node.hear(), await node.hear()]) == [blog.key, shop.key]
            assert node.sequences == list(range(1, len(node.sequences) + 1))
            assert {message.term for message in heard} == {1}


async def test_a_node_that_says_what_it_has_is_sent_the_difference(tmp_path: Path) -> None:
    async with control.operator() as op:
        token = op.add_token("laptop")
        shop, blog = op.add_tunnel("shop", token), op.add_tunnel("blog", token)
        op.publish_fleet()
        have = {key: op.hub.hash_of(control.FLEET, key) or "" for key in ("fleet", f"token/{token.uid}", shop.key)}
        pem = op.visitors.chain_pem + op.visitors.key_pem
        have[f"material/{control.CERTIFICATE_ID}"] = hashlib.sha256(pem).hexdigest()
        async with raw_node(op, tmp_path, have=have | {"tunnel/gone": "h"}) as node:
            heard = await node.hear_until("end_of_snapshot")
            assert said(heard) == [blog.key, "end"]
            assert "tunnel/gone" not in heard[-1].end_of_snapshot.keys


async def test_a_newer_stream_of_the_same_pod_ends_the_older(tmp_path: Path) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        identity = identity_of(op)
        async with raw_node(op, tmp_path, identity) as old:
            await old.hear_until("end_of_snapshot")
            async with raw_node(op, tmp_path, identity) as new:
                assert "newer stream" in (await old.hear_until("go_away"))[-1].go_away.reason
                assert await asyncio.wait_for(old.call.code(), 5) is grpc.StatusCode.OK
                await new.hear_until("end_of_snapshot")
                assert op.hub.nodes(control.FLEET)["pod-a"].connected


async def test_a_node_that_has_seen_a_higher_term_is_sent_away(tmp_path: Path) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        async with raw_node(op, tmp_path, term=7) as node:
            assert "has seen 7" in (await node.hear()).go_away.reason
        assert op.hub.nodes(control.FLEET) == {}


async def test_an_operator_that_stops_says_so_on_every_stream(tmp_path: Path) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        async with raw_node(op, tmp_path) as node:
            await node.hear_until("end_of_snapshot")
            await asyncio.wait_for(op.stop(), 5)
            assert "next leader" in (await node.hear()).go_away.reason


async def test_a_node_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        slow_identity, fast_identity = identity_of(op, pod="slow"), identity_of(op, pod="fast")
        async with raw_node(op, tmp_path, slow_identity) as slow, raw_node(op, tmp_path, fast_identity) as fast:
            await slow.hear_until("end_of_snapshot")
            await fast.hear_until("end_of_snapshot")
            token = op.add_token("laptop")
            await fast.hear()
            for number in range(200):
                for index in range(10):
                    name = f"{'x' * 20_000}-{number}"
                    op.hub.publish(
                        control.FLEET,
                        control.tunnel_object("shop", token.uid, uid=f"u{index}", closed=ir_pb2.Closed(message=name)),
                    )
                last = None
                while last is None or not last.upsert.tunnel.closed.message.endswith(f"-{number}"):
                    last = await fast.hear(5)
            assert op.hub.nodes(control.FLEET)["slow"].connected


@pytest.mark.parametrize("kind", ["agent", "stranger", "unknown exit node", "other domain"])
async def test_only_a_certificate_of_a_known_exit_node_opens_a_stream(tmp_path: Path, kind: str) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        fresh = keys.new_key()
        public = ca.parse_csr(fresh.csr)
        assert not isinstance(public, ca.Refused)
        now, authority = datetime.now(UTC), op.authority
        if kind == "agent":
            leaf = ca.issue_agent(authority, public, spiffe.AgentId(control.DOMAIN, "team-a", "t", "a"), now)
        else:
            authority = ca.new_ca(now) if kind == "stranger" else authority
            domain = "other.example" if kind == "other domain" else control.DOMAIN
            pod = "nobody" if kind == "unknown exit node" else "pod-a"
            leaf = ca.issue_exit_node(authority, public, spiffe.ExitNodeId(domain, "eu-west-1", pod), now)
        op.nodes.add("eu-west-1", "pod-a")
        identity = keys.NodeIdentity(
            "default", "", "", "", "", tuple(ca.chain_of(authority, leaf)), fresh.key, (), now, now
        )
        with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError, AssertionError)):
            async with raw_node(op, tmp_path, identity) as node:
                await node.hear()
        assert op.hub.nodes(control.FLEET) == {}


async def test_a_stream_begins_with_hello(tmp_path: Path) -> None:
    async with control.operator() as op, raw_node(op, tmp_path, hello=False) as node:
        await node.say(ack=control_pb2.Ack(key="snapshot"))
        with pytest.raises(grpc.aio.AioRpcError, match="the first message of a stream is hello"):
            await asyncio.wait_for(node.call.read(), 5)


async def test_an_oversized_message_ends_its_stream_and_nothing_else(tmp_path: Path) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        op.nodes.add("eu-west-1", "pod-b")
        async with raw_node(op, tmp_path, hello=False) as node:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await node.say(hello=control_pb2.NodeHello(version="x" * (9 * 1024 * 1024)))
                await node.call.read()
            assert await asyncio.wait_for(node.call.code(), 10) is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with raw_node(op, tmp_path, identity_of(op, pod="pod-b")) as node:
            await node.hear_until("end_of_snapshot")


async def test_a_node_renews_its_certificate_over_the_stream_unless_it_was_deleted(tmp_path: Path) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        async with raw_node(op, tmp_path) as node:
            await node.hear_until("end_of_snapshot")
            fresh = keys.new_key()
            await node.say(renew=control_pb2.RenewNode(csr=fresh.csr))
            renewed = (await node.hear_until("renewed"))[-1].renewed
            assert (
                keys.build_identity(
                    fleet="default",
                    domain=control.DOMAIN,
                    region="",
                    chain=renewed.chain,
                    key=fresh.key,
                    roots=renewed.roots,
                ).pod
                == "pod-a"
            )
            op.nodes.by_token.clear()
            await node.say(renew=control_pb2.RenewNode(csr=fresh.csr))
            assert "does not exist any more" in (await node.hear_until("go_away"))[-1].go_away.reason


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    async with control.operator() as op, control.operator(start=False) as second:
        second.host, second.control_port, second.enrol_port = op.host, op.control_port, 0
        with pytest.raises(control_server.ListenError, match=f"{op.host}:{op.control_port}"):
            await second.start()


# --- relay -----------------------------------------------------------------------------------------------------------
def enrolment(token: control.books.TokenRecord, number: int, **changes: Any) -> control_pb2.RelayRequest:
    csr, nonce = keys.new_key().csr, b"n" * 32
    request = frames_pb2.EnrolRequest(
        token_id=token.id, csr=csr, proof=enrol.proof_of(token.secret, csr, nonce), agent_id="agent-1"
    )
    for name, value in changes.items():
        setattr(request, name, value)
    return control_pb2.RelayRequest(id=number, agent_address="192.0.2.1:4000", nonce=nonce, enrol=request)


async def test_agents_counted_at_the_same_moment_do_not_pass_the_maximum(tmp_path: Path) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        token = op.add_token("laptop", max_agents=3)
        async with raw_node(op, tmp_path) as node:
            await node.hear_until("end_of_snapshot")
            for number in range(8):
                await node.say(relay=enrolment(token, number, agent_id=f"agent-{number}"))
            replies = [(await node.hear_until("relay"))[-1].relay for _ in range(8)]
            codes = sorted(reply.enrol.refused.code for reply in replies)
            assert codes == ["", "", "", *["HAWSE-3006"] * 5]
            assert len(op.tokens.records[token.id].agents) == 3


async def test_a_token_of_another_fleet_is_unknown_to_this_fleets_exit_nodes(tmp_path: Path) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        token = op.add_token("laptop", fleet="other")
        async with raw_node(op, tmp_path) as node:
            await node.say(relay=enrolment(token, 1))
            assert (await node.hear_until("relay"))[-1].relay.enrol.refused.code == "HAWSE-3002"


async def test_too_many_attempts_are_refused_for_a_while(tmp_path: Path) -> None:
    limit = control_server.attempts.Limit(burst=2, per_minute=2)
    async with control.operator(attempt_limits=control_server.attempts.AttemptLimits(token=limit)) as op:
        op.publish_fleet()
        token = op.add_token("laptop")
        async with raw_node(op, tmp_path) as node:
            codes = []
            for number in range(3):
                await node.say(relay=enrolment(token, number, proof=b"guess"))
                refused = (await node.hear_until("relay"))[-1].relay.enrol.refused
                codes.append((refused.code, refused.final))
            assert codes == [("HAWSE-3002", True), ("HAWSE-3002", True), ("HAWSE-3008", False)]


@pytest.mark.parametrize("how", ["fails", "stalls"])
async def test_an_agent_gets_an_answer_also_when_kubernetes_does_not(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "ANSWER_TIMEOUT_S", 0.3)
    async with control.operator() as op:
        op.publish_fleet()
        token = op.add_token("laptop")
        op.tokens.fails, op.tokens.stall = how == "fails", asyncio.Event() if how == "stalls" else None
        async with raw_node(op, tmp_path) as node:
            await node.say(relay=enrolment(token, 1))
            refused = (await node.hear_until("relay"))[-1].relay.enrol.refused
            assert (refused.code, refused.final) == ("HAWSE-3009", False)


async def test_a_hostile_exit_node_cannot_renew_an_agent_it_has_seen(tmp_path: Path) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        token = op.add_token("laptop", agents=frozenset({"agent-1"}))
        who = spiffe.AgentId(control.DOMAIN, token.namespace, token.uid, "agent-1")
        seen = ca.issue_agent(op.authority, ca.new_key().public_key(), who, datetime.now(UTC))
        request = control_pb2.RelayRequest(id=1, agent_address="192.0.2.1:4000")
        request.renew.request.csr = keys.new_key().csr
        request.renew.token_uid, request.renew.agent_id = token.uid, "agent-1"
        request.renew.certificate = ca.der(seen)
        async with raw_node(op, tmp_path) as node:
            await node.say(relay=request)
            assert (await node.hear_until("relay"))[-1].relay.renew.refused.code == "HAWSE-2010"
            request.renew.certificate = b"rubbish"
            await node.say(relay=request)
            assert (await node.hear_until("relay"))[-1].relay.renew.refused.code == "HAWSE-2010"
