"""The main job with a real exit node process and the real control plane: enrol, configure, admit, serve, cut off."""

import time
from pathlib import Path

from support import control


async def test_a_visitor_reaches_the_app_through_an_exit_node_that_enrolled_by_itself(tmp_path: Path) -> None:
    async with control.operator() as op, control.app() as app:
        token = op.add_token("laptop")
        tunnel = op.add_tunnel("shop", token)
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node, control.agent(op) as agent:
            response = await agent.enrol(token, node)
            assert (response.namespace, response.token_name, response.domain) == ("team-a", "laptop", control.DOMAIN)
            assert list(response.addresses) == [node.agents_address]
            _, offered = await agent.connect(node, app=app)
            assert offered == [tunnel.tunnel.uid]
            page = await node.visit(f"shop.{control.DOMAIN}")
            assert (page.status_code, page.text) == (200, "hello from the app")

            acks = op.hub.acks(control.FLEET, tunnel.key)
            assert acks[node.pod].error == ""
            assert acks[node.pod].hash == op.hub.hash_of(control.FLEET, tunnel.key)
            await control.until(lambda: op.hub.sessions(control.FLEET), 5, "no session was reported")
            session = op.hub.sessions(control.FLEET)[0]
            assert (session.token_uid, session.agent_id, session.exit_node) == (token.uid, "agent-1", "eu-west-1")


async def test_deleting_the_token_cuts_its_agents_off_within_five_seconds_and_says_why(tmp_path: Path) -> None:
    async with control.operator() as op, control.app() as app:
        token = op.add_token("laptop")
        op.add_tunnel("shop", token)
        op.publish_fleet()
        async with control.exit_node(op, tmp_path) as node, control.agent(op) as agent:
            await agent.enrol(token, node)
            link, _ = await agent.connect(node, app=app)
            started = time.monotonic()
            op.delete_token(token)
            refused = (await agent.hear(link, "refused", timeout_s=5)).refused
            down = await agent.wait_down(link, timeout_s=5)
            assert time.monotonic() - started < 5
            assert (refused.code, refused.final, down.code) == ("HAWSE-2003", True, 2003)
            assert "AgentToken team-a/laptop was deleted" in refused.message
            page = await node.visit(f"shop.{control.DOMAIN}", headers={"Accept": "text/html"})
            assert page.status_code == 503
            assert "HAWSE-1002" in page.text
            again = await agent.dial(node)
            agent.say(again, hello=agent.hello())
            assert (await agent.hear(again, "refused")).refused.code == "HAWSE-2003"
