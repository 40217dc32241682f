"""The internal CA in the cluster: made once by create (a 409 means read), and a ConfigMap of it for exit nodes.

Rotation is not here yet. Called by runtime when a term
begins, before anything is served; the ConfigMap is looked at again with every resync.
"""

import logging
from datetime import datetime

from hawse_api import names
from hawse_operator import errors
from hawse_operator.control import ca
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s.resources import CONFIG_MAPS, SECRETS
from hawse_operator.manifests import secrets

logger = logging.getLogger(__name__)


async def ensure_authority(client: k8s_client.Client, namespace: str, *, now: datetime) -> ca.Authority:
    """The CA, made if there is none.

    Raises:
        AuthorityError: what is there cannot be used; another one is never made in its place.
    """
    authority = await _read_or_create(client, namespace, now)
    await publish(client, namespace, authority)
    return authority


async def _read_or_create(client: k8s_client.Client, namespace: str, now: datetime) -> ca.Authority:
    try:
        body = await client.get(SECRETS, namespace, names.CA_SECRET)
    except errors.NotFound:
        certificate_pem, key_pem = ca.dump(ca.new_ca(now))
        wanted = secrets.build_ca_secret(namespace=namespace, certificate_pem=certificate_pem, key_pem=key_pem)
        try:
            body = await client.create(SECRETS, wanted)
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


async def publish(client: k8s_client.Client, namespace: str, authority: ca.Authority) -> None:
    """Put the CA's certificates where pods of exit nodes mount them; writes only if they are not there."""
    wanted = secrets.build_ca_config_map(namespace=namespace, certificate_pem=ca.roots_pem(authority))
    try:
        live = await client.get(CONFIG_MAPS, namespace, names.CA_CONFIG_MAP)
    except errors.NotFound:
        live = {}
    if live.get("data") != wanted["data"]:
        await client.apply(CONFIG_MAPS, wanted)
