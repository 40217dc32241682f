"""The internal CA in the cluster: made once by create (a 409 means read), and a ConfigMap of it for exit nodes.

A term begins with `ensure_authority`, before anything is served. From then on the leader holds the CA in memory and
puts back what somebody deletes: the ConfigMap at once (it is watched), the Secret when it is next polled (design 0002,
3). Called by runtime.
"""

import logging
from datetime import datetime

from hawse_api import names
from hawse_operator import errors
from hawse_operator.control import ca
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s.resources import CONFIG_MAPS, SECRETS
from hawse_operator.manifests import secrets
from hawse_operator.reconcile.cache import Key, key_of
from hawse_operator.reconcile.context import Context

logger = logging.getLogger(__name__)


async def ensure_authority(client: k8s_client.Client, namespace: str, *, now: datetime) -> ca.Authority:
    """The CA, made if there is none.

    Raises:
        AuthorityError: what is there cannot be used; another one is never made in its place.
    """
    try:
        body = await client.get(SECRETS, namespace, names.CA_SECRET)
    except errors.NotFound:
        try:
            body = await client.create(SECRETS, _secret_of(ca.new_ca(now), namespace))
            logger.info("CA made", extra={"secret": f"{namespace}/{names.CA_SECRET}"})
        except errors.AlreadyExists:
            body = await client.get(SECRETS, namespace, names.CA_SECRET)
    try:
        return ca.load(secrets.read_data(body, "ca.crt"), secrets.read_data(body, "ca.key"))
    except ca.AuthorityUnreadableError as exc:
        raise errors.AuthorityError(
            f"Secret {namespace}/{names.CA_SECRET} cannot be used: {exc}. Restore it from a backup. "
            "Deleting it makes a new CA, and every exit node and agent has to enrol again."
        ) from exc


class AuthorityReconciler:
    """Keeps Secret and ConfigMap what the leader knows. Its key names nothing of the API: there is one CA."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, _key: Key) -> float | None:
        """Look at both; returns seconds until the Secret is looked at again."""
        await self._keep_secret()
        await self._publish()
        return self._context.settings.secret_poll_s

    async def _keep_secret(self) -> None:
        client, namespace = self._context.client, self._context.settings.pod_namespace
        if await client.version(SECRETS, namespace, names.CA_SECRET):
            return
        # Without it the next leader would make another CA, under which nobody has a certificate.
        await client.create(SECRETS, _secret_of(self._context.authority, namespace))
        logger.warning("CA put back", extra={"secret": f"{namespace}/{names.CA_SECRET}"})

    async def _publish(self) -> None:
        """Put the CA's certificates where pods of exit nodes mount them; writes only if they are not there."""
        context = self._context
        wanted = secrets.build_ca_config_map(
            namespace=context.settings.pod_namespace, certificate_pem=ca.roots_pem(context.authority)
        )
        live = context.world.cache[CONFIG_MAPS].get(key_of(CONFIG_MAPS, wanted))
        if live is None or live.get("data") != wanted["data"]:
            context.learn(CONFIG_MAPS, await context.client.apply(CONFIG_MAPS, wanted))


def _secret_of(authority: ca.Authority, namespace: str) -> dict[str, object]:
    certificate_pem, key_pem = ca.dump(authority)
    return secrets.build_ca_secret(namespace=namespace, certificate_pem=certificate_pem, key_pem=key_pem)
