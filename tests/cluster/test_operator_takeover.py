"""The leader dies by kill -9 at every write of a reconcile; the standby ends where an undisturbed operator ends.

A script makes, renames and deletes objects. An undisturbed run counts its writes; then the script runs again and again
and the leader is killed when the Nth write arrives (the API server has not seen it) or was answered (the operator does
not know it). HAWSE_KILLS=all kills at every boundary, a number kills at so many, evenly spread.
"""

import base64
import contextlib
import itertools
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import devcluster
from hawse_operator.translate import token_text
from support import api_proxy
from support.operator import (
    FLEET,
    SYSTEM,
    Api,
    Operator,
    cluster_with_crds,
    exit_node,
    namespace,
    token,
    tunnel,
    wait_for,
)

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]
KILLS = os.environ.get("HAWSE_KILLS", "6")
LEASE_S = "3"
TAKEOVER_S = 30.0
"""A Lease of 3 s, two processes on a busy machine, the API server's answers: usually 5 s."""
KINDS = ("tunnel", "sdr", "agenttoken", "exitnode", "fleet", "secret", "deployment", "service")
ADDRESS = {"type": "Service", "service": {"type": "ClusterIP"}}


@dataclass
class Round:
    """Names of one run of the script: a namespace, a Fleet and an ExitNode of its own."""

    api: Api
    name: str
    secret_before: bytes = b""
    writes: int = 0

    def make(self) -> None:
        """New: Fleet, ExitNode, AgentToken, two Tunnels."""
        fleet = {**FLEET, "metadata": {"name": self.name}, "spec": FLEET["spec"] | {"domain": f"{self.name}.example"}}
        node = exit_node(self.name, "eu-west", fleetName=self.name, address=ADDRESS)
        tunnels = [tunnel(name, self.name, fleetName=self.name) for name in ("shop", "gone")]
        self.api.apply(namespace(self.name), fleet, node, token("laptop", self.name), *tunnels)

    def is_made(self) -> bool:
        """All that the script made is judged."""
        return (
            self._held("shop")
            and self._held("gone")
            and self._is_true("agenttoken", "laptop", "Issued", self.name)
            and self._is_true("fleet", self.name, "Accepted")
            and self._has_children()
        )

    def change(self) -> None:
        """Delete one Tunnel; make the other anew with another host, which is how one is renamed."""
        self.secret_before = self.secret()
        for name in ("shop", "gone"):
            self.api.delete("tunnel", name, self.name)
        self.api.apply(tunnel("shop", self.name, subdomain="store", fleetName=self.name))

    def is_changed(self) -> bool:
        """The old names are tombstones, the new one is held."""
        return self._held("store") and self._released("shop") and self._released("gone")

    def secret(self) -> bytes:
        """The secret in the AgentToken's text; the addresses beside it follow the exit nodes."""
        found = self.api.get("secret", "laptop-token", self.name)
        assert found is not None
        return token_text.read_secret(base64.b64decode(found["data"]["token"]).decode())

    def state(self) -> dict[str, Any]:
        """Everything of this round, without what differs between any two runs."""
        return {kind: sorted(self._normal(body) for body in self._bodies(kind)) for kind in KINDS}

    def settled(self, expected: dict[str, Any] | None = None) -> dict[str, Any]:
        """The state when it is the expected one, or when it has not changed for a second."""
        seen: list[dict[str, Any]] = []

        def is_settled() -> bool:
            seen.append(self.state())
            return seen[-1] == expected if expected else seen[-3:] == [seen[-1]] * 3

        with contextlib.suppress(AssertionError):  # the caller compares and shows the difference
            wait_for("settled", is_settled, timeout_s=TAKEOVER_S)
        return seen[-1]

    def _bodies(self, kind: str) -> list[dict[str, Any]]:
        return [body for body in self.api.list(kind, "-A") if self.name in json.dumps(body)]

    def _normal(self, body: dict[str, Any]) -> str:
        metadata = {key: body["metadata"].get(key) for key in ("name", "namespace", "labels")}
        owners = [(owner["kind"], owner["name"]) for owner in body["metadata"].get("ownerReferences", [])]
        status = body.get("status") or {}
        conditions = sorted((item["type"], item["status"], item["reason"]) for item in status.get("conditions", []))
        kept = {key: status.get(key) for key in ("hostname", "reservationName", "secretName", "addresses")}
        spec = "" if body["kind"] == "Secret" else body.get("spec")
        text = json.dumps([metadata, owners, conditions, kept, spec, sorted(body.get("data") or {})], sort_keys=True)
        return _without_accidents(text, self.name)

    def _held(self, subdomain: str) -> bool:
        found = self.api.get("sdr", f"{subdomain}.{self.name}.example")
        return found is not None and "releasedAt" not in found["spec"]

    def _released(self, subdomain: str) -> bool:
        return "releasedAt" in (self.api.get("sdr", f"{subdomain}.{self.name}.example") or {"spec": {}})["spec"]

    def _is_true(self, kind: str, name: str, condition: str, where: str = "") -> bool:
        return self.api.condition(kind, name, condition, where).get("status") == "True"

    def _has_children(self) -> bool:
        label = f"hawse.dev/exit-node={self.name}"
        return all(self.api.list(kind, "-n", SYSTEM, "-l", label) for kind in ("deployment", "service"))


ACCIDENTS = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"127\.\d+\.\d+\.\d+", "CLUSTER-IP"),
    (r'("nodePort": |"healthCheckNodePort": )\d+', r"\1PORT"),
)


def _without_accidents(text: str, name: str) -> str:
    text = re.sub(rf"{name}-[0-9a-f]{{4,16}}\b", "ROUND-HASH", text).replace(name, "ROUND")
    for pattern, replacement in ACCIDENTS:
        text = re.sub(pattern, replacement, text)
    return text


class Pair:
    """Two replicas, each behind a proxy of its own; the one that dies is replaced by a third, and so on."""

    def __init__(self, cluster: devcluster.Cluster, stack: contextlib.ExitStack) -> None:
        self._cluster, self._stack = cluster, stack
        self._serial = itertools.count(1)
        self.replicas: list[tuple[Operator, api_proxy.ApiProxy]] = []
        self.join()
        wait_for("the first leads", lambda: self.leader is not None, timeout_s=TAKEOVER_S)
        self.join()
        self.await_standby()

    @property
    def leader(self) -> tuple[Operator, api_proxy.ApiProxy] | None:
        """The replica that leads and lives."""
        alive = (pair for pair in self.replicas if pair[0].process.poll() is None)
        return next((pair for pair in alive if pair[0].find("serving exit nodes")), None)

    def join(self) -> None:
        """One more replica."""
        name = f"operator-{next(self._serial)}"
        proxy = self._stack.enter_context(api_proxy.proxied(self._cluster, name))
        operator = Operator(self._cluster, name, KUBECONFIG=str(proxy.kubeconfig), HAWSE_LEASE_SECONDS=LEASE_S)
        self._stack.callback(operator.end)
        self.replicas.append((operator, proxy))

    def await_standby(self) -> None:
        """The newest replica is warm."""
        operator = self.replicas[-1][0]
        wait_for("warm", lambda: operator.find("started") and operator.ask("/readyz").status_code == 200)

    def await_takeover(self) -> None:
        """The one that was killed is replaced; the next standby starts at the same time."""
        wait_for("a new leader", lambda: self.leader is not None, timeout_s=TAKEOVER_S)
        self.replicas = [pair for pair in self.replicas if pair[0].process.poll() is None]


def kill_at(operator: Operator, number: int, *, answered: bool) -> Callable[[api_proxy.Call], api_proxy.Fault]:
    """A fault that kills the operator at its write number `number`, counted from 0."""
    writes = itertools.count()

    def kill() -> None:
        operator.process.send_signal(signal.SIGKILL)
        operator.process.wait(5.0)

    def fault(call: api_proxy.Call) -> api_proxy.Fault:
        if not call.is_write or call.is_event or next(writes) != number:
            return api_proxy.NOTHING
        return api_proxy.Fault(after=kill) if answered else api_proxy.Fault(before=kill, reset=True)

    return fault


def chosen(boundaries: int) -> list[int]:
    """Which boundaries to kill at."""
    wanted = boundaries if KILLS == "all" else min(boundaries, int(KILLS))
    return [round(step * (boundaries - 1) / max(1, wanted - 1)) for step in range(wanted)]


def play(round_: Round, pair: Pair, number: int | None, *, answered: bool = False) -> bool:
    """The script, with a kill at one write; returns whether there was one."""
    assert pair.leader is not None
    operator, proxy = pair.leader
    begun = len(proxy.writes())
    if number is not None:
        proxy.fault = kill_at(operator, number, answered=answered)
    round_.make()
    wait_for("made", round_.is_made, timeout_s=TAKEOVER_S)
    round_.change()
    wait_for("changed", round_.is_changed, timeout_s=TAKEOVER_S)
    proxy.fault = lambda _: api_proxy.NOTHING
    round_.writes = len(proxy.writes()) - begun
    return operator.process.poll() is not None


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devcluster.Cluster]:
    with cluster_with_crds(tmp_path_factory.mktemp("takeover")) as cluster:
        yield cluster


def test_a_leader_killed_at_any_write_leaves_nothing_behind(cluster: devcluster.Cluster) -> None:
    api = Api(cluster)
    with contextlib.ExitStack() as stack:
        pair = Pair(cluster, stack)
        calm = Round(api, "calm")
        play(calm, pair, None)
        expected = calm.settled()
        kills = [0, 0]
        for boundary in chosen(2 * calm.writes):
            number, answered = divmod(boundary, 2)
            round_ = Round(api, f"kill{boundary}")
            if play(round_, pair, number, answered=bool(answered)):
                kills[answered] += 1
                pair.join()
                pair.await_takeover()
                pair.await_standby()
            where = f"killed {'after' if answered else 'before'} write {number} of {calm.writes}"
            assert round_.settled(expected) == expected, where
            assert round_.secret() == round_.secret_before, f"{where}: the secret was made anew without need"
        assert min(kills) >= 1, "the script writes, so there must be kills before and after writes"
