"""Memory of an exit node for idle agents: one process (swarm) dials as a thousand of them. Called by __main__.

Each has a token, certificate, tunnel and session of its own. An exit node takes 256 links from an address, and a client
on loopback always comes from 127.0.0.1; so each group of agents goes through a relay with an address of its own.
"""

import datetime as dt
import json
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

from bench import cpu
from hawse_agent import files
from hawse_agent.trial import fleet as fleets
from hawse_agent.trial.processes import ExitNode, Trial
from hawse_api.ir import ir_pb2

GROUP = 200
_SETTLE_S = 6.0
_UP_S = 400.0


def measure(directory: Path, tunnels: int) -> dict[str, float]:
    """RSS of the exit node before the agents come and after, kB."""
    with Trial(directory) as trial:
        node = trial.add_exit_node("eu-west", start=False)
        agents = _write(trial, node, tunnels)
        node.start()
        time.sleep(_SETTLE_S / 2)
        before = cpu.rss_kb(node.process.pid)
        file = directory / "swarm.json"
        files.write_private(file, json.dumps(agents).encode())
        swarm = trial.process("swarm", [sys.executable, "-m", "bench.swarm", str(file)])
        swarm.start()
        swarm.wait_until(lambda: "all up" in swarm.out, "all agents were registered", _UP_S)
        time.sleep(_SETTLE_S)
        after = cpu.rss_kb(node.process.pid)
    return {
        "tunnels": tunnels,
        "before_kb": before,
        "after_kb": after,
        "kb_per_tunnel": round((after - before) / tunnels, 2),
    }


def _write(trial: Trial, node: ExitNode, tunnels: int) -> dict[str, object]:
    """The exit node's file with a token and a tunnel for each agent; what the agents are told."""
    fleet = trial.fleet
    objects: list[ir_pb2.Object] = []
    agents: list[dict[str, object]] = []
    for number in range(tunnels):
        own = replace(fleet, token_uid=str(uuid.uuid4()))
        spec = fleets.TunnelSpec(f"app{number}")
        made = fleets.build_objects(own, node.place, [spec], token=True)
        objects += made if not objects else [one for one in made if one.WhichOneof("object") != "fleet"]
        login = fleets.build_login(
            own, {node.agents_address: node.place.https_port}, agent_id=str(uuid.uuid4()), life=dt.timedelta(hours=2)
        )
        agents.append({"chain": [der.hex() for der in login.chain], "key": login.key.hex()})
    files.write_private(node.file, fleets.build_static_file(fleet, node.place, objects).encode())
    return {
        "node": [node.place.address, node.place.agents_port],
        "server_name": fleet.connect_name,
        "roots": [fleet.authority.der.hex()],
        "agents": agents,
    }
