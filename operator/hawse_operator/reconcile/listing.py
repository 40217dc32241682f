"""Listing everything into the cache: at the start, at the begin of a term, and at every resync.

Lists are the truth that watches are not: a deletion during a broken watch never arrives as an event. Called by
runtime and __main__.
"""

from hawse_operator import errors, telemetry
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s import resources
from hawse_operator.manifests import services
from hawse_operator.reconcile.cache import Cache
from hawse_operator.reconcile.intake import Intake
from hawse_operator.settings import Settings


async def list_all(client: k8s_client.Client, intake: Intake, cache: Cache, settings: Settings) -> None:
    """Bring the cache up to date. Raises KubernetesError; what was listed until then stays."""
    for resource in resources.CACHED:
        if resource in resources.CHILDREN:
            await _list(client, intake, resource, settings.pod_namespace, labels=services.OWNED_LABELS)
        elif resource.namespaced and settings.watch_namespaces:
            for namespace in settings.watch_namespaces:
                await _list(client, intake, resource, namespace)
        else:
            await _list(client, intake, resource, "")
    for plural, size in cache.sizes().items():
        telemetry.CACHE_OBJECTS.labels(plural).set(size)


async def _list(
    client: k8s_client.Client, intake: Intake, resource: resources.Resource, namespace: str, *, labels: str = ""
) -> None:
    try:
        bodies, version = await client.list(resource, namespace, labels=labels)
    except errors.Expired:  # took too long between pages
        bodies, version = await client.list(resource, namespace, labels=labels)
    intake.listed(resource, bodies, version, namespace=namespace)
