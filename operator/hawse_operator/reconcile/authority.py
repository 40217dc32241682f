"""The internal CA in the cluster: made once by create (a 409 means read), kept, rotated, and shown to exit nodes.

A term begins with `ensure_authority`, before anything is served. From then on the leader holds the CA in memory and
puts back what somebody deletes or damages: the ConfigMap at once (it is watched), the Secret when it is next read
(polled, design 0002, 3). The same look takes up a request for a rotation, and goes on with one. Called by runtime.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator import errors
from hawse_operator.control import ca, rotation
from hawse_operator.k8s import client as k8s_client
from hawse_operator.k8s.resources import CONFIG_MAPS, SECRETS
from hawse_operator.manifests import secrets
from hawse_operator.reconcile import dependents
from hawse_operator.reconcile.cache import Key, key_of
from hawse_operator.reconcile.context import Context
from hawse_operator.settings import Settings

logger = logging.getLogger(__name__)

SINCE = f"{names.GROUP}/rotation-since"
"""On the Secret: when the step began."""
REQUEST = f"{names.GROUP}/rotation-request"
"""On the Secret: value of `hawse.dev/rotate` that was taken up last."""


async def ensure_authority(client: k8s_client.Client, settings: Settings, *, now: datetime) -> rotation.Rotation:
    """The CA, made if there is none.

    Raises:
        AuthorityError: what is there cannot be used; another one is never made in its place.
    """
    namespace = settings.pod_namespace
    try:
        body = await client.get(SECRETS, namespace, names.CA_SECRET)
    except errors.NotFound:
        try:
            body = await client.create(SECRETS, _secret_of(rotation.Rotation(ca.new_ca(now)), namespace))
            logger.info("CA made", extra={"secret": f"{namespace}/{names.CA_SECRET}"})
        except errors.AlreadyExists:
            body = await client.get(SECRETS, namespace, names.CA_SECRET)
    try:
        return _read(body, settings)
    except ca.AuthorityUnreadableError as exc:
        raise errors.AuthorityError(
            f"Secret {namespace}/{names.CA_SECRET} cannot be used: {exc}. Restore it from a backup. "
            "Deleting it makes a new CA, and every exit node and agent has to enrol again."
        ) from exc


class AuthorityReconciler:
    """Keeps Secret and ConfigMap. Its key names nothing of the API: there is one CA."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, _key: Key) -> float | None:
        """Look at both; returns seconds until the Secret is read again."""
        context = self._context
        try:
            body = await context.client.get(SECRETS, context.settings.pod_namespace, names.CA_SECRET)
        except errors.NotFound:
            # Without it the next leader would make another CA, under which nobody has a certificate.
            body = await self._put_back({}, "it was deleted")
        await self._take(body)
        await self._publish()
        ends, poll_s = context.rotation.step_ends, context.settings.secret_poll_s
        return poll_s if ends is None else min(poll_s, max(1.0, (ends - context.now).total_seconds()))

    async def _take(self, body: dict[str, Any]) -> None:
        """Believe what the Secret says, and take the next step of a rotation if it is due."""
        context = self._context
        try:
            found = _read(body, context.settings)
        except ca.AuthorityUnreadableError as exc:
            body = await self._put_back(body, str(exc))
            found = context.rotation
        request = (body["metadata"].get("annotations") or {}).get(names.ANNOTATION_ROTATE, "")
        step = rotation.advance(found, request=request, now=context.now, make=lambda: ca.new_ca(context.now))
        if step is not None:
            await self._write(step, body)
            logger.info("CA rotated a step", extra={"trusted": len(step.authority.roots), "ends": str(step.step_ends)})
        elif ca.ca_hashes(found.authority) != ca.ca_hashes(context.authority):
            logger.warning("the CA is another one now", extra={"secret": names.CA_SECRET})
        self._use(step or found)

    def _use(self, now_is: rotation.Rotation) -> None:
        """Sign and trust by it from now on; texts of tokens name the CAs."""
        context = self._context
        has_changed = ca.ca_hashes(context.authority) != ca.ca_hashes(now_is.authority)
        context.rotation = now_is
        if has_changed:
            for key, delay_s in dependents.all_tokens(context.world):
                context.queue.add(key, delay_s=delay_s)

    async def _put_back(self, body: dict[str, Any], why: str) -> dict[str, Any]:
        logger.warning("CA put back", extra={"secret": names.CA_SECRET, "why": why})
        return await self._write(self._context.rotation, body)

    async def _write(self, now_is: rotation.Rotation, body: dict[str, Any]) -> dict[str, Any]:
        """Over exactly the version that was read, if any."""
        client, wanted = self._context.client, _secret_of(now_is, self._context.settings.pod_namespace)
        if not body:
            return await client.create(SECRETS, wanted)
        wanted["metadata"]["resourceVersion"] = body["metadata"]["resourceVersion"]
        return await client.apply(SECRETS, wanted)

    async def _publish(self) -> None:
        """Put the CA's certificates where pods of exit nodes mount them; writes only if they are not there."""
        context = self._context
        wanted = secrets.build_ca_config_map(
            namespace=context.settings.pod_namespace, certificate_pem=ca.roots_pem(context.authority)
        )
        live = context.world.cache[CONFIG_MAPS].get(key_of(CONFIG_MAPS, wanted))
        if live is None or live.get("data") != wanted["data"]:
            context.learn(CONFIG_MAPS, await context.client.apply(CONFIG_MAPS, wanted))


def _secret_of(now_is: rotation.Rotation, namespace: str) -> dict[str, Any]:
    annotations = {REQUEST: now_is.request} if now_is.request else {}
    if now_is.since is not None:
        annotations[SINCE] = v1alpha1.format_time(now_is.since)
    return secrets.build_ca_secret(namespace=namespace, parts=rotation.dump(now_is), annotations=annotations)


def _read(body: dict[str, Any], settings: Settings) -> rotation.Rotation:
    annotations = body["metadata"].get("annotations") or {}
    return rotation.load(
        secrets.read_all(body),
        since=annotations.get(SINCE, ""),
        request=annotations.get(REQUEST, ""),
        lifetime=timedelta(seconds=settings.certificate_lifetime_s),
    )
