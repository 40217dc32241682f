"""An exit node whose operator is away for longer than Fleet.spec.maxStaleness: the real process, a bound of seconds."""

import asyncio
import signal
from pathlib import Path

from hawse_api.ir import frames_pb2, ir_pb2
from hawse_exitnode.staleness_guard import KEEP_EVERY_S
from support import control

BOUND_MS = 3000
SHOP, BLOG, API, WIKI = (f"{name}.{control.DOMAIN}" for name in ("shop", "blog", "api", "wiki"))


def url_of(app: tuple[str, int]) -> ir_pb2.UrlTarget:
    return ir_pb2.UrlTarget(scheme="http", host=app[0], port=app[1])


def add_direct(op: control.Operator, name: str, app: tuple[str, int]) -> None:
    obj = control.tunnel_object(name, "")
    obj.tunnel.direct.CopyFrom(url_of(app))
    op.hub.publish(control.FLEET, obj)


def standby_at(app: tuple[str, int]) -> ir_pb2.Standby:
    check = ir_pb2.HealthCheck(path="/", interval_ms=500, timeout_ms=500, unhealthy_threshold=2, healthy_threshold=1)
    return ir_pb2.Standby(
        direct=url_of(app), app_protocol=ir_pb2.APP_PROTOCOL_HTTP1, health_check=check, failback_ms=1000
    )


async def refused(agent: control.Agent, node: control.ExitNodeProcess) -> frames_pb2.Refused:
    link = await agent.dial(node)
    agent.say(link, hello=agent.hello())
    return (await agent.hear(link, "refused")).refused


async def is_silenced(node: control.ExitNodeProcess) -> bool:
    """It listens, and is not ready for this reason alone."""
    status, why = await node.ask("/readyz")
    return status == 503 and "silent for too long to serve agents" in why


async def test_agents_go_and_visitors_are_told_why_while_what_needs_no_agent_is_served(tmp_path: Path) -> None:
    async with control.operator() as op, control.app() as app, control.app("standby") as other:
        token = op.add_token("laptop")
        op.add_tunnel("shop", token)
        op.add_tunnel("wiki", token, standby=standby_at(other))
        add_direct(op, "api", app)
        op.publish_fleet(max_staleness_ms=BOUND_MS, allowed_cidrs=["127.0.0.0/8"])
        async with control.exit_node(op, tmp_path) as node, control.agent(op) as agent:
            agent.use_certificate(token)
            link, _ = await agent.connect(node, app=app)
            await asyncio.sleep(BOUND_MS / 1000 + 1)  # silence is no age: the operator is connected
            assert [(await node.visit(host)).text for host in (SHOP, WIKI, API)] == ["hello from the app"] * 3
            assert "hawse_configuration_age_seconds 0.0" in (await node.ask("/metrics"))[1]

            await op.stop()
            told = (await agent.hear(link, "refused", timeout_s=20)).refused
            assert (told.code, told.final) == ("HAWSE-1017", False)
            assert "It last heard from its operator on 20" in told.message
            assert (await agent.wait_down(link)).code == 1017
            page = await node.visit(SHOP, headers={"Accept": "text/html"})
            assert (page.status_code, page.headers["x-hawse-error"]) == (503, "HAWSE-1017")
            assert page.headers["retry-after"] == "60"
            assert "It last heard from its operator on 20" in page.text
            assert (await node.visit(API)).text == "hello from the app"
            wiki = await node.visit(WIKI)
            assert (wiki.text, wiki.headers["x-hawse-target"]) == ("standby", "standby")
            assert await node.is_ready(), "it serves visitors"
            assert (await refused(agent, node)).code == "HAWSE-1017"
            assert node.log.count("the operator has been silent for half of the time") == 1
            assert node.log.count("the configuration is too old") == 1

            await op.start()
            await control.until(lambda: "agents are let in" in node.log, 20, "the operator's return changed nothing")
            await agent.connect(node, app=app)
            assert (await node.visit(SHOP)).text == "hello from the app"


async def test_a_restart_makes_nobody_young_again_and_who_was_revoked_meanwhile_stays_out(tmp_path: Path) -> None:
    async with control.operator() as op, control.app() as app:
        kept, revoked = op.add_token("laptop"), op.add_token("lost-laptop")
        op.add_tunnel("shop", kept)
        op.add_tunnel("blog", revoked)
        op.publish_fleet(max_staleness_ms=BOUND_MS)
        async with (
            control.exit_node(op, tmp_path) as node,
            control.agent(op) as agent,
            control.agent(op, "agent-2") as thief,
        ):
            agent.use_certificate(kept)
            thief.use_certificate(revoked)
            await agent.connect(node, app=app)
            await thief.connect(node, app=app)
            await control.until(lambda: (tmp_path / "state" / "heard.json").exists(), 2 * KEEP_EVERY_S, "not kept")
            await op.stop()
            op.delete_token(revoked)
            await control.until(lambda: "the configuration is too old" in node.log, 20, "it never got too old")
            assert await is_silenced(node)

            await node.end(signal.SIGKILL)
            await node.start()
            await control.until(lambda: is_silenced(node), 20, "it does not serve what it kept")
            assert (await node.visit(SHOP)).headers["x-hawse-error"] == "HAWSE-1017"
            assert (await refused(thief, node)).code == "HAWSE-1017"

            await op.start()
            await node.wait_ready()
            assert (await refused(thief, node)).code == "HAWSE-2003"
            await agent.connect(node, app=app)
            assert [(await node.visit(host)).status_code for host in (SHOP, BLOG)] == [200, 503]
