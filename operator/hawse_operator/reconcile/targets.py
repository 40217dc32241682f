"""What a Tunnel's target names: gathered, and handed to translation once it is known to be there.

A Service is read by its name and polled like a Secret: the operator neither lists nor watches Services of tenants.
Called by reconcile.tunnels.
"""

from hawse_api import v1alpha1
from hawse_operator import errors
from hawse_operator.k8s.resources import SERVICES
from hawse_operator.policies import facts, targets
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import targets as translate

SERVICE_POLL_S = 30.0
"""A Service whose ClusterIP or port has changed is followed within this time."""
MISSING_POLL_S = 5.0
"""One that is not there, or lacks the port, is most likely on its way."""


async def gather(context: Context, namespace: str, target: v1alpha1.Target) -> targets.Destination:
    """The target and the object that it names."""
    token = context.world.token(namespace, target.agent.token_ref.name) if target.agent else None
    service = await _read_service(context, namespace, target.service.name) if target.service else None
    return targets.Destination(target, token, service)


async def _read_service(context: Context, namespace: str, name: str) -> facts.Service | None:
    try:
        return facts.read_service(await context.client.get(SERVICES, namespace, name))
    except errors.NotFound:
        return None


def look_again_s(namespace: str, to: targets.Destination) -> float | None:
    """Seconds until it has to be gathered again without an event; None: events tell all."""
    if to.target.service is None:
        return None
    return SERVICE_POLL_S if targets.service_exists(namespace, to) is None else MISSING_POLL_S


def translated(namespace: str, to: targets.Destination) -> translate.Target | None:
    """The target for exit nodes; None: what it names is not there."""
    if to.target.url is not None:
        return translate.url_target(to.target.url)
    if to.target.service is not None:
        port = targets.port_of(to.service, to.target.service.port) if to.service else None
        if to.service is None or port is None or not to.service.cluster_ips:
            return None
        return translate.service_target(to.service.name, namespace, addresses=to.service.cluster_ips, port=port)
    return translate.agent_target(to.token.uid) if to.token is not None else None
