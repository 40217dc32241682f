"""Kill -9 while visitors come, without a cluster: two exit nodes, an agent and the app as processes on loopback.

The demo does the same in its cluster (scripts/demo/kills.py), where a kubelet starts containers again; here the test.
"""

import gc
import re
import signal
import time
from collections.abc import Iterator

import pytest

from demo.outcomes import NO_ANSWER, REFUSED, Loss
from demo.traffic import Traffic
from demo.visits import Door, Visitor
from hawse_exitnode import static
from support import loopback
from support.loopback import Loopback

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(90),
    # The visitors' client forgets sockets whose TLS handshake was cut by a kill.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
BACK_S = 40.0
APP_AWAY = {"HAWSE-1003", "HAWSE-1005"}
AGENT_AWAY = {"HAWSE-1002", "HAWSE-1013"}
NODE_AWAY = {"connection refused", "connection lost"} | AGENT_AWAY


class Scene:
    """Everything up, visitors at both exit nodes."""

    def __init__(self, made: Loopback, traffic: Traffic) -> None:
        self.made, self.traffic = made, traffic
        self.mark = time.monotonic()

    def begin(self) -> None:
        """Losses are counted from here on."""
        self.await_calm()
        self.mark = time.monotonic()

    def await_calm(self) -> None:
        """Both regions are served, and nobody waits."""
        since = time.monotonic()
        while not self.traffic.is_calm(since):
            assert time.monotonic() < since + BACK_S, f"{self.losses()}\n{self.made.agent.tail()}"
            time.sleep(0.05)

    def losses(self) -> tuple[Loss, ...]:
        return self.traffic.losses(self.mark)

    def failures(self, region: str, protocol: str, *, until: float) -> set[str]:
        """Why requests failed that began between the mark and this moment."""
        lines = [line.split(" ", 6) for line in self.traffic.log.read_text().splitlines()]
        ours = [line for line in lines if line[1:3] == [region, protocol] and self.mark <= float(line[4]) < until]
        assert ours
        causes = {line[6] for line in ours} - {"served "}
        return {REFUSED if cause.startswith(REFUSED) else cause for cause in causes}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("kills")
    with loopback.serving(directory, exit_nodes=2) as made:
        doors = [Door(one.place.region, one.place.name, one.place.address, one.place.https_port) for one in made.nodes]
        visitor = Visitor(made.host, doors[0].port, made.ca_file)
        with Traffic(visitor, doors, directory / "visitors.log", rate=40) as traffic:
            yield Scene(made, traffic)
    gc.collect()  # of the forgotten sockets, while the warning is off


@pytest.fixture
def scene(running: Scene) -> Scene:
    running.begin()
    return running


def causes(loss: Loss) -> set[str]:
    return {cause for cause, _ in loss.failures}


def test_an_exit_node_that_is_killed_costs_the_other_ones_visitors_nothing(scene: Scene) -> None:
    for victim in scene.made.nodes:  # each in turn; what was killed before must have come back by then
        scene.begin()
        victim.process.kill()
        victim.start()
        scene.await_calm()
        losses = {loss.region: loss for loss in scene.losses()}
        own = losses.pop(victim.place.region)
        (other,) = losses.values()
        assert (other.visits > 0, other.failures) == (True, ())
        assert own.failed > 0
        assert causes(own) <= NODE_AWAY
    assert scene.made.agent.out.count("https://") == 1, "the agent was never without a session"


def test_an_agent_that_is_killed_has_its_slot_back_at_once(scene: Scene) -> None:
    agent = scene.made.agent
    agent.kill()
    agent.start()
    scene.made.wait_until_served()
    scene.await_calm()
    for loss in scene.losses():
        assert loss.visits > 0
        assert causes(loss) <= AGENT_AWAY
    logs = [node.process.err for node in scene.made.nodes]
    assert any("took this one's place" in log for log in logs), "it waited until the dead link's silence was noticed"
    assert "another" not in agent.err, "nobody fights for the slot"


def test_an_app_that_is_killed_is_told_and_served_again_at_once(scene: Scene) -> None:
    app = scene.made.app
    app.process.kill()
    time.sleep(0.3)
    app.start()
    scene.await_calm()
    for loss in scene.losses():
        assert loss.failed > 0
        assert causes(loss) <= APP_AWAY


def test_all_at_once_come_back_by_themselves(scene: Scene) -> None:
    processes = [*(node.process for node in scene.made.nodes), scene.made.agent, scene.made.app.process]
    for process in processes:
        process.signal(signal.SIGKILL)
    for process in reversed(processes):  # the agent before its exit nodes: it has to try again
        process.kill()
        process.start()
    scene.await_calm()
    for loss in scene.losses():
        assert loss.failed > 0
        assert causes(loss) <= NODE_AWAY | APP_AWAY
        assert NO_ANSWER not in causes(loss)


def test_an_exit_node_that_is_stopped_in_order_fails_nobody_who_got_a_connection(scene: Scene) -> None:
    for victim in scene.made.nodes:
        scene.begin()
        victim.process.signal(signal.SIGTERM)
        assert victim.process.wait(20) == 0
        stopped = time.monotonic()
        (drained_s,) = re.findall(r"drained.*after_s\W+([\d.]+)", victim.process.err)
        assert float(drained_s) < static.DRAIN_TIMEOUT_S, "it did not wait for visitors who ask nothing"
        victim.start()
        scene.await_calm()
        (other,) = [loss for loss in scene.losses() if loss.region != victim.place.region]
        assert (other.visits > 0, other.failures) == (True, ())
        # Python's HTTP/2 client gives up its requests at GOAWAY.
        failures = scene.failures(victim.place.region, "HTTP/1.1", until=stopped)
        assert failures <= {REFUSED}, victim.process.tail()
        # The agent is on its way back: visitors wait for it.
        assert not scene.failures(victim.place.region, "HTTP/1.1", until=time.monotonic()) & AGENT_AWAY
