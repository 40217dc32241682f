"""The secret from which the keys of visitors' sessions are derived: made once by create (a 409 means read).

A leader reads it when its term begins. Deleted or damaged, the next leader makes another one, and every visitor signs
in again: nothing else depends on it. Called by runtime.
"""

import logging
import secrets as random

from hawse_api import names
from hawse_operator import errors
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s.resources import SECRETS
from hawse_operator.manifests import secrets
from hawse_operator.settings import Settings
from hawse_operator.translate import session_keys

logger = logging.getLogger(__name__)


async def ensure_session_root(client: k8s_client.Client, settings: Settings) -> bytes:
    """The root, made if there is none that can be used."""
    namespace = settings.pod_namespace
    wanted = secrets.build_session_root(namespace=namespace, root=random.token_bytes(session_keys.ROOT_BYTES))
    try:
        body = await client.get(SECRETS, namespace, names.SESSIONS_SECRET)
    except errors.NotFound:
        try:
            body = await client.create(SECRETS, wanted)
        except errors.AlreadyExists:
            body = await client.get(SECRETS, namespace, names.SESSIONS_SECRET)
    root = secrets.read_data(body, secrets.ROOT_KEY)
    if len(root) != session_keys.ROOT_BYTES:
        logger.warning(
            "the keys of sessions are made anew: visitors sign in again", extra={"secret": names.SESSIONS_SECRET}
        )
        root = secrets.read_data(await client.apply(SECRETS, wanted), secrets.ROOT_KEY)
    return root
