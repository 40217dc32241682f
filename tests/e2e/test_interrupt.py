"""Ctrl-C ends the demo at any time, and nothing of it keeps running."""

from collections.abc import Callable

import pytest

from support.typed import Typed, summary_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1900)]
END_S = 60.0


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("1  A Kubernetes cluster", id="while-the-cluster-starts"),
        pytest.param("$ helm install", id="while-helm-waits"),
        pytest.param("$ hawse http", id="while-the-agent-connects"),
    ],
)
def test_ctrl_c_in_the_middle_leaves_no_process(typed: Callable[..., Typed], moment: str) -> None:
    demo = typed("make", "demo")
    demo.wait_for(moment)
    demo.press_ctrl_c()
    assert demo.wait(END_S) != 0
    assert demo.left == []
    assert "Traceback" not in demo.text
    summary_of(demo.last_line)


def test_the_demo_stays_up_until_ctrl_c(typed: Callable[..., Typed]) -> None:
    demo = typed("make", "demo")
    demo.wait_for("Ctrl-C")
    demo.press_ctrl_c()
    demo.wait(END_S)
    assert summary_of(demo.last_line)[1] == 0, demo.text
    assert demo.left == []
    assert "Traceback" not in demo.text


def test_a_demo_that_is_killed_takes_everything_with_it(typed: Callable[..., Typed]) -> None:
    demo = typed("make", "demo", REAPER_GRACE_S="20")
    demo.wait_for("Ctrl-C")
    demo.kill()
    demo.wait(END_S)
    assert demo.left == []
