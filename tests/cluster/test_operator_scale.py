"""2,000 Tunnels at once: all are judged, every name is held once, and afterwards nothing is written any more.

The figures, with an exit node and more sizes, come from `make bench-scale`.
"""

import time
from pathlib import Path

import pytest

from support import api_proxy
from support.operator import FLEET, Api, Operator, cluster_with_crds, namespace, token, tunnel, wait_for

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]
COUNT = 2_000
CONVERGE_S = 180.0
MAX_WRITES = 5
"""For each Tunnel: its reservation, that one's status, its own status when it is judged and when its Fleet's
certificate is known."""


def test_two_thousand_tunnels_converge_and_then_nothing_is_written(tmp_path: Path) -> None:
    with cluster_with_crds(tmp_path / "scale") as cluster, api_proxy.proxied(cluster, "operator-a") as proxy:
        api = Api(cluster)
        api.apply(FLEET, namespace("many"), token("ci", "many"))
        api.apply(*(tunnel(f"t{number}", "many", agent="ci") for number in range(COUNT)))
        operator = Operator(cluster, "operator-a", KUBECONFIG=str(proxy.kubeconfig), HAWSE_LEASE_SECONDS="15")
        try:
            wait_for("it leads", lambda: operator.find("serving exit nodes"), timeout_s=60.0)

            def all_reserved() -> bool:
                template = '{range .items[*]}{.status.conditions[?(@.type=="Reserved")].status}{"\\n"}{end}'
                answer = cluster.kubectl("get", "tunnels", "-n", "many", "-o", f"jsonpath={template}").stdout
                return answer.splitlines().count("True") == COUNT

            wait_for("all are reserved", all_reserved, timeout_s=CONVERGE_S)
            wait_for("nothing is written for 5 s", lambda: writes_in(proxy, 5.0) == 0, timeout_s=CONVERGE_S)
            assert len(proxy.writes()) <= MAX_WRITES * COUNT
            held = {body["spec"]["claimRef"]["name"]: body["metadata"]["name"] for body in api.list("sdr")}
            assert held == {f"t{number}": f"t{number}.tunnels.example.com" for number in range(COUNT)}
        finally:
            operator.end()


def writes_in(proxy: api_proxy.ApiProxy, seconds: float) -> int:
    before = len(proxy.writes(events=True))
    time.sleep(seconds)
    return len(proxy.writes(events=True)) - before
