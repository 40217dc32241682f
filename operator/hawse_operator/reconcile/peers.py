"""Publish the pods of a fleet's exit nodes to all of them, so that they carry each other's visitors (backhaul).

One key for each fleet; its kind is none of the API's. A pod that comes, goes or moves costs a look at the fleet's pods
and one message to each exit node, whatever the number of Tunnels. Called by the workers.
"""

from collections.abc import Iterable

from hawse_api import names
from hawse_api.ir import ir_pb2
from hawse_operator.k8s.resources import PODS
from hawse_operator.policies import exitnodes, facts
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.context import Context
from hawse_operator.translate.peers import translate_peer


def list_peers(pods: Iterable[facts.Pod], domain: str) -> list[ir_pb2.Object]:
    """Pods of a fleet as exit nodes hold them."""
    return [
        translate_peer(
            uid=pod.uid,
            pod=pod.name,
            exit_node=pod.exit_node,
            region=pod.region,
            address=exitnodes.with_port(pod.ip, names.PORT_AGENTS),
            domain=domain,
        )
        for pod in exitnodes.peers_among(pods)
    ]


class PeersReconciler:
    """Remembers what it published in this term, to take it back."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._published: dict[str, frozenset[str]] = {}

    async def reconcile(self, key: Key) -> float | None:
        """One fleet."""
        context, name = self._context, key.name
        fleet = context.world.fleets().get(name)
        if fleet is None:  # the hub forgets it with all that it held
            self._published.pop(name, None)
        else:
            pods = (facts.read_pod(body) for body in context.world.cache[PODS].select("fleet", name))
            peers = list_peers(pods, fleet.spec.domain)
            for peer in peers:
                context.hub.publish(name, peer)
            present = frozenset(peer.key for peer in peers)
            for gone in self._published.get(name, frozenset()) - present:
                context.hub.retract(name, gone)
            self._published[name] = present
        context.first_round.done(key)
        return None
