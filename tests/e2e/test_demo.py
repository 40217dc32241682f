"""The main job, end to end: everything that `make demo` expects holds, and it leaves nothing behind."""

import re
from collections.abc import Callable

import pytest

from support.typed import Typed, summary_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1900)]
LEAST_CHECKS = 53
"""A demo that checks less than this has lost some of its steps."""

KILLED = [
    r"region (eu-west|us-east): its node and all its pods",
    "API server, with etcd and controllers",
    "leading operator",
    "exit node eu-west-1 in eu-west",
    "agent",
    "app",
    "operator, both exit nodes, agent",
]


def test_the_demo_holds_all_its_expectations_and_leaves_no_process(typed: Callable[..., Typed]) -> None:
    demo = typed("make", "demo", "CHECK=1")
    code = demo.wait()
    assert code == 0, demo.text
    passed, failed = summary_of(demo.last_line)
    assert failed == 0
    assert passed >= LEAST_CHECKS
    assert demo.left == []
    assert [int(number) for number in re.findall(r"^(\d)  \S", demo.text, re.MULTILINE)] == [1, 2, 3, 4, 5, 6, 7, 8]
    killed = [line.split("   # ")[1] for line in demo.text.splitlines() if "$ kill -" in line]
    assert [bool(re.fullmatch(*pair)) for pair in zip(KILLED, killed, strict=True)] == [True] * len(KILLED), killed
    assert "exit node eu-west-1, deleted (SIGTERM): visitors of eu-west and us-east notice nothing" in demo.text
    assert "Traceback" not in demo.text
    assert "hwt1." not in demo.text, "the demo shows a token"
