"""The real exit node process under bad weather: operator away, kill -9, broken state, bad credentials, taken ports."""

import asyncio
import signal
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hawse_api.ir import frames_pb2
from hawse_operator.control import ca
from hawse_tunnel import errors as tunnel_errors
from support import control

SHOP = f"shop.{control.DOMAIN}"


def kept(directory: Path) -> bool:
    return (directory / "state" / "configuration.json").exists() and (directory / "state" / "identity.json").exists()


async def test_serving_goes_on_without_the_operator_also_across_a_kill(tmp_path: Path) -> None:
    async with control.operator() as op, control.app() as app:
        token = op.add_token("laptop")
        op.add_tunnel("shop", token)
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node, control.agent(op) as agent:
            await agent.enrol(token, node)
            await agent.connect(node, app=app)
            await control.until(lambda: kept(tmp_path), 5, "nothing was kept")
            await op.stop()
            assert (await node.visit(SHOP)).text == "hello from the app"

            await node.end(signal.SIGKILL)
            await node.start()
            await node.wait_ready()
            assert "restored the kept configuration" in node.log
            link, offered = await agent.connect(node, app=app)
            assert len(offered) == 1
            assert (await node.visit(SHOP)).text == "hello from the app"

            refused = (await agent.enrol(token, node)).refused
            assert (refused.code, refused.final) == ("HAWSE-3009", False)
            agent.say(link, renew=frames_pb2.RenewRequest(csr=agent.csr()))
            assert (await agent.hear(link, "renewed")).renewed.refused.code == "HAWSE-3009"


async def test_a_new_leader_takes_over_and_what_went_meanwhile_goes_at_the_end_of_its_snapshot(tmp_path: Path) -> None:
    async with control.operator() as op, control.app() as app:
        token = op.add_token("laptop")
        op.add_tunnel("shop", token)
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node, control.agent(op) as agent:
            await agent.enrol(token, node)
            link, _ = await agent.connect(node, app=app)
            await op.restart_as_new_leader()
            await op.start()
            op.hub.publish(control.FLEET, control.token_object(token.uid, "team-a", "laptop"))
            blog = op.add_tunnel("blog", token)
            await control.until(lambda: node.pod in op.hub.acks(control.FLEET, blog.key), 20, "blog never arrived")
            assert (await node.visit(SHOP)).status_code == 200, "nothing is removed before the snapshot ends"
            op.publish_fleet()
            await control.until(lambda: op.hub.nodes(control.FLEET)[node.pod].snapshot_done, 10, "no end")
            assert (await node.visit(SHOP)).status_code == 404
            offer = (await agent.hear(link, "offer")).offer
            while [tunnel.name for tunnel in offer.tunnels] != ["blog"]:
                offer = (await agent.hear(link, "offer")).offer

            await op.stop()
            op.term, op.hub = 1, control.Hub()
            op.publish_fleet()
            await op.start()
            await control.until(lambda: "not the leader any more" in node.log or "has seen 2" in node.log, 30, node.log)
            assert (await node.visit(f"blog.{control.DOMAIN}")).status_code == 503, (
                "an operator of the past is not obeyed"
            )


@pytest.mark.parametrize("damage", ["torn", "rubbish"])
async def test_damaged_state_is_ignored_and_readiness_says_what_is_missing(tmp_path: Path, damage: str) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node:
            await control.until(lambda: kept(tmp_path), 5, "nothing was kept")
            await op.stop()
            await node.end(signal.SIGKILL)
            for file in (tmp_path / "state").iterdir():
                data = file.read_bytes()
                file.write_bytes(data[: len(data) // 2] if damage == "torn" else b"\x00rubbish")
            await node.start()
            await control.until(lambda: node.log.count("kept state is not usable") >= 2, 10, "no warning")
            await control.until(lambda: answers(node, 503, "cannot be reached"), 10, "not said")
            await op.start()
            await node.wait_ready()
            assert "Traceback" not in node.log


async def answers(node: control.ExitNodeProcess, status: int, words: str) -> bool:
    found, text = await node.ask("/readyz")
    return found == status and words in text


async def test_a_refused_service_account_token_is_told_by_readiness_and_tried_again(tmp_path: Path) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        async with control.exit_node(op, tmp_path, start=False) as node:
            good = (tmp_path / "token").read_text()
            (tmp_path / "token").write_text("wrong")
            await node.start()
            await control.until(lambda: answers(node, 503, "HAWSE-3010"), 10, "not said")
            assert (await node.ask("/livez"))[0] == 200
            (tmp_path / "token").write_text(good)
            await node.wait_ready()
            assert good not in node.log


async def test_an_operator_under_another_ca_is_not_believed(tmp_path: Path) -> None:
    async with control.operator() as op:
        op.publish_fleet()
        async with control.exit_node(op, tmp_path, start=False) as node:
            (tmp_path / "ca.crt").write_bytes(ca.roots_pem(ca.new_ca(datetime.now(UTC))))
            await node.start()
            await control.until(lambda: answers(node, 503, "could not prove"), 10, "not said")


@pytest.mark.parametrize("which", ["https", "agents", "admin"])
async def test_a_taken_port_ends_the_process_with_one_line(tmp_path: Path, which: str) -> None:
    async with control.operator() as op, control.exit_node(op, tmp_path, start=False) as node:
        kind = socket.SOCK_DGRAM if which == "agents" else socket.SOCK_STREAM
        port = {"https": node.https_port, "agents": node.agents_port, "admin": node.admin_port}[which]
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind((node.host, port))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            await node.start()
            assert await node.wait_ended() == 1
        last = node.log.strip().splitlines()[-1]
        assert last.startswith(f"hawse-exitnode: cannot listen on {node.host}:{port}")
        assert "HAWSE-2013" in last
        assert "Traceback" not in node.log


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param([], 2, "missing: POD_NAME, POD_NAMESPACE, POD_IP", id="no environment"),
        pytest.param(["static"], 2, "usage:", id="no file named"),
        pytest.param(["static", "/nowhere"], 2, "cannot read /nowhere", id="no such file"),
        pytest.param(["--version"], 0, "hawse-exitnode 0", id="version"),
    ],
)
async def test_wrong_use_ends_with_code_two_and_one_line(arguments: list[str], code: int, words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hawse_exitnode",
        *arguments,
        env={},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == code
    assert words in out.decode()
    assert "Traceback" not in out.decode()


async def test_sigterm_drains_agents_first_and_ends_in_order(tmp_path: Path) -> None:
    async with control.operator() as op, control.app() as app:
        token = op.add_token("laptop")
        op.add_tunnel("shop", token)
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node, control.agent(op) as agent:
            await agent.enrol(token, node)
            link, _ = await agent.connect(node, app=app)
            ending = asyncio.create_task(node.end())
            drain = (await agent.hear(link, "drain")).drain
            assert (drain.deadline_ms, drain.reason) == (5000, "the pod is stopped")
            assert await ending == 0
            await agent.wait_down(link)
            await control.until(lambda: not op.hub.nodes(control.FLEET)[node.pod].connected, 5, "still connected")


@pytest.mark.parametrize(
    ("token", "request_", "code"),
    [
        pytest.param({}, {"proof": b"x" * 32}, "HAWSE-3002", id="wrong secret"),
        pytest.param({}, {"token_id": "nothing"}, "HAWSE-3002", id="unknown"),
        pytest.param({"expires_at": datetime(2026, 1, 1, tzinfo=UTC)}, {}, "HAWSE-3004", id="expired"),
        pytest.param({"once": True, "used_up": True, "secret": b""}, {}, "HAWSE-3005", id="used up"),
        pytest.param({"agents": frozenset({"x"})}, {}, "HAWSE-3006", id="too many agents"),
        pytest.param({}, {"csr": b"rubbish"}, "HAWSE-3002", id="CSR that the proof is not for"),
    ],
)
async def test_logins_are_refused_with_their_code_through_the_exit_node(
    tmp_path: Path, token: dict[str, Any], request_: dict[str, Any], code: str
) -> None:
    async with control.operator() as op:
        record = op.add_token("laptop", **token)
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node, control.agent(op) as agent:
            response = await agent.enrol(record, node, **request_)
            assert (response.refused.code, response.refused.final, list(response.chain)) == (code, True, [])


async def test_an_agent_renews_over_its_session_with_a_new_key(tmp_path: Path) -> None:
    async with control.operator() as op:
        token = op.add_token("laptop")
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node, control.agent(op) as agent:
            await agent.enrol(token, node)
            link, _ = await agent.connect(node)
            csr = agent.csr(ec.generate_private_key(ec.SECP256R1()))
            proof = agent.key.sign(csr, ec.ECDSA(hashes.SHA256()))
            agent.say(link, renew=frames_pb2.RenewRequest(csr=csr, proof=proof))
            renewed = (await agent.hear(link, "renewed")).renewed
            assert len(renewed.chain) == 2
            assert list(renewed.addresses) == [node.agents_address]
            agent.say(link, renew=frames_pb2.RenewRequest(csr=csr))
            assert (await agent.hear(link, "renewed")).renewed.refused.code == "HAWSE-2010"


async def test_an_agent_under_another_ca_gets_no_link(tmp_path: Path) -> None:
    async with control.operator() as op:
        token = op.add_token("laptop")
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node, control.agent(op) as agent:
            agent.use_certificate(token, ca.new_ca(datetime.now(UTC)))
            with pytest.raises(tunnel_errors.DialError):
                await agent.dial(node)


async def test_frames_out_of_turn_end_a_link_and_the_node_serves_on(tmp_path: Path) -> None:
    async with control.operator() as op:
        token = op.add_token("laptop")
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node, control.agent(op) as agent:
            agent.use_certificate(token)
            for frame in ({"register": frames_pb2.Register()}, {"welcome": frames_pb2.Welcome()}):
                link = await agent.dial(node)
                agent.say(link, **frame)
                assert (await agent.hear(link, "refused")).refused.code == "HAWSE-2009"
                assert (await agent.wait_down(link)).code == 2009
            silent = await agent.dial(node)
            assert (await agent.wait_down(silent, timeout_s=15)).code == 2009
            await agent.connect(node)
            assert await node.is_ready()


async def test_a_second_process_of_the_same_login_takes_the_slot(tmp_path: Path) -> None:
    async with control.operator() as op, control.app() as app:
        token = op.add_token("laptop")
        op.add_tunnel("shop", token)
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node, control.agent(op) as one, control.agent(op) as two:
            one.use_certificate(token)
            two.use_certificate(token)
            first, _ = await one.connect(node, epoch=10)
            await two.connect(node, app=app, epoch=11)
            assert (await one.hear(first, "refused")).refused.code == "HAWSE-2007"
            assert (await one.wait_down(first)).code == 2007
            assert (await node.visit(SHOP)).status_code == 200
            again = await one.dial(node)
            one.say(again, hello=one.hello(epoch=5))
            assert (await one.hear(again, "refused")).refused.epoch == 11


async def test_an_agent_that_moves_from_tcp_to_quic_fails_no_visitor(tmp_path: Path) -> None:
    """Requests one after the other, and one that the old link answers after the move."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow_app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/slow" in (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]:
            asked.set()
            await answer.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    async with control.operator() as op, await asyncio.start_server(slow_app, "127.0.0.1") as server:
        app = server.sockets[0].getsockname()
        token = op.add_token("laptop")
        op.add_tunnel("shop", token)
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node, control.agent(op) as agent:
            agent.use_certificate(token)
            old, _ = await agent.connect(node, app=app, tcp=True)
            slow = asyncio.create_task(node.visit(SHOP, "/slow"))
            await asyncio.wait_for(asked.wait(), 10)
            moving = asyncio.create_task(agent.connect(node, app=app))
            statuses, since_move = set(), 0
            while since_move < 10:
                statuses.add((await node.visit(SHOP)).status_code)
                since_move += moving.done()
            assert statuses == {200}
            assert old not in agent.downs
            answer.set()
            assert (await slow).status_code == 200
            assert (await agent.hear(old, "refused")).refused.code == "HAWSE-2007"
            assert (await agent.wait_down(old)).code == 2007


async def test_a_tunnel_that_needs_more_than_the_node_knows_is_closed_and_the_feature_is_named(tmp_path: Path) -> None:
    async with control.operator() as op:
        token = op.add_token("laptop")
        tunnel = op.add_tunnel("shop", token, required_features=["oidc"])
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node:
            page = await node.visit(SHOP, headers={"Accept": "text/html"})
            assert (page.status_code, page.headers["x-hawse-error"]) == (503, "HAWSE-1008")
            assert "lacks oidc" in op.hub.acks(control.FLEET, tunnel.key)[node.pod].error


async def test_pages_and_metrics_are_served(tmp_path: Path) -> None:
    async with control.operator() as op:
        token = op.add_token("laptop")
        op.add_tunnel("shop", token)
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node:
            page = await node.visit(SHOP, headers={"Accept": "text/html"})
            assert page.status_code == 503
            assert "is not connected. It may be asleep" in page.text
            status, text = await node.ask("/metrics")
            assert status == 200
            assert "hawse_control_synced 1.0" in text
            assert 'hawse_tunnel_errors_total{code="HAWSE-1002",namespace="team-a",tunnel="shop"} 1.0' in text
