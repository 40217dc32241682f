"""A fleet as DNS sees it in, the contents of its LUA records out. HAWSE_REGEN=1 rewrites the second; review it as code.

A case has `nodes` (fields of weights.Node; ready, wanted and port have defaults), `near` (region → networks), `placed`
(host name → policy, regions, sticky) and `sticky`.
"""

import os
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from hawse_operator.dns import lua
from hawse_operator.dns.plan import Near, Placed, PlanInput, Policy, build_plan
from hawse_operator.dns.weights import Node

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*.in.yaml"))
DEFAULTS: dict[str, Any] = {"weight": 100, "drains": False, "ready": 1, "wanted": 1, "port": 443}


def read_node(name: str, fields: dict[str, Any]) -> Node:
    found = DEFAULTS | fields
    found["addresses"] = tuple(ip_address(text) for text in found["addresses"])
    if "location" in found:
        found["location"] = tuple(found["location"])
    return Node(name=name, **found)


def read_case(case: dict[str, Any]) -> PlanInput:
    return PlanInput(
        domain="tunnels.example.com",
        ttl_s=20,
        nodes=tuple(read_node(name, fields) for name, fields in case["nodes"].items()),
        near=tuple(
            Near(region, tuple(ip_network(text) for text in networks))
            for region, networks in case.get("near", {}).items()
        ),
        placed=tuple(
            Placed("uid", name, Policy(one["policy"]), tuple(one.get("regions", {}).items()), one.get("sticky", False))
            for name, one in case.get("placed", {}).items()
        ),
        sticky=case.get("sticky", False),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_a_fleet_becomes_lua_records(case: Path) -> None:
    plan = build_plan(read_case(yaml.safe_load(case.read_text())))
    result = {record.name: list(lua.render(record.pool)) for record in plan.records}
    golden = case.with_name(case.name.replace(".in.", ".out."))
    if os.environ.get("HAWSE_REGEN"):
        golden.write_text(yaml.safe_dump(result, width=120))
    assert result == yaml.safe_load(golden.read_text())
