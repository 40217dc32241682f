"""Requests to the API server: plain JSON objects in and out, own errors, a timeout and bounded retries on each.

Generic over resources; knows nothing of tunnels. The kubernetes library brings configuration, credentials and
connections; its models are not used, since server-side apply wants exactly the fields we name. Called by reconcile,
control's books and __main__.
"""

import asyncio
import json
import logging
import os
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib import parse

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import rest

from hawse_api import names
from hawse_operator import errors, telemetry
from hawse_operator.k8s import backoff
from hawse_operator.k8s.resources import TOKEN_REVIEWS, Resource

logger = logging.getLogger(__name__)

JsonObject = dict[str, Any]
TIMEOUT_S = 15.0
PAGE = 500
CONNECTIONS = 32
"""Twice the workers: a reconcile makes one request at a time, events and the Lease come on top."""
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"
METADATA_ONLY = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach the API server, for the event source (kopf) which has its own connections."""

    server: str
    ca_path: str | None
    verify: bool
    token: str | None
    certificate_path: str | None
    key_path: str | None


class Client:
    """A connection pool to one API server. Close it once, after everything that uses it."""

    def __init__(self, configuration: kubernetes_client.Configuration) -> None:
        configuration.connection_pool_maxsize = CONNECTIONS
        # With trust_env, aiohttp reads ~/.netrc and the proxies of the environment for each request, in two threads
        # of their own: half of a request's CPU (measured). Watches never went that way either.
        configuration.client_session_kwargs = {"trust_env": False}
        self._configuration = configuration
        self._rest = rest.RESTClientObject(configuration)

    @classmethod
    async def connect(cls) -> "Client":
        """Take KUBECONFIG if it is set, else the pod's ServiceAccount."""
        configuration = kubernetes_client.Configuration()
        await _load(configuration)
        return cls(configuration)

    async def close(self) -> None:
        """Close all connections."""
        await self._rest.close()

    async def credentials(self) -> Credentials:
        """The current credentials; the token is read anew, since it rotates."""
        token = await self._bearer()
        configuration = self._configuration
        return Credentials(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            verify=configuration.verify_ssl,
            token=token.split(" ", 1)[-1] if token else None,
            certificate_path=configuration.cert_file,
            key_path=configuration.key_file,
        )

    async def get(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        """Read one object."""
        return await self._request("GET", resource.path(namespace, name))

    async def version(self, resource: Resource, namespace: str, name: str) -> str:
        """An object's resourceVersion, without what is in it; empty if it is not there."""
        try:
            answer = await self._request("GET", resource.path(namespace, name), accept=METADATA_ONLY)
        except errors.NotFound:
            return ""
        return str(answer["metadata"]["resourceVersion"])

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "") -> tuple[list[JsonObject], str]:
        """All objects and the resourceVersion of the list. Items get the apiVersion and kind that lists leave out."""
        items: list[JsonObject] = []
        version = ""
        async for page in self._pages(resource, namespace, labels):
            version = page.get("metadata", {}).get("resourceVersion", version)
            for item in page.get("items") or ():
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
                items.append(item)
        return items, version

    async def _pages(self, resource: Resource, namespace: str, labels: str) -> AsyncIterator[JsonObject]:
        query = {"limit": str(PAGE)} | ({"labelSelector": labels} if labels else {})
        while True:
            page = await self._request("GET", resource.path(namespace), query=query)
            yield page
            if not (token := page.get("metadata", {}).get("continue")):
                return
            query["continue"] = token

    async def discover(self, group: str, version: str) -> frozenset[str]:
        """Plural names of the resources that the API server serves in a group version; empty if it is not there."""
        try:
            answer = await self._request("GET", f"/apis/{group}/{version}")
        except errors.NotFound:
            return frozenset()
        return frozenset(item["name"] for item in answer.get("resources", ()))

    async def create(self, resource: Resource, body: JsonObject) -> JsonObject:
        """Create; AlreadyExists if the name is taken."""
        metadata = body.get("metadata", {})
        telemetry.WRITES.labels(resource.plural, "create").inc()
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self._request("POST", resource.path(metadata.get("namespace", "")), query=query, body=body)

    async def apply(self, resource: Resource, body: JsonObject, *, subresource: str = "") -> JsonObject:
        """Server-side apply as the operator's one field manager. A resourceVersion in the body makes it conditional."""
        metadata = body["metadata"]
        telemetry.WRITES.labels(resource.plural, f"apply {subresource}".strip()).inc()
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        return await self._request("PATCH", path, query=query, body=body, content_type=APPLY)

    async def apply_status(
        self, resource: Resource, namespace: str, name: str, status: JsonObject, *, resource_version: str = ""
    ) -> JsonObject:
        """Replace what we own of a status."""
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        if resource_version:
            metadata["resourceVersion"] = resource_version
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "status": status}
        return await self.apply(resource, body, subresource="status")

    async def merge(self, resource: Resource, namespace: str, name: str, patch: JsonObject) -> JsonObject:
        """Merge patch. Conflict if the patch names a resourceVersion that is not the current one."""
        telemetry.WRITES.labels(resource.plural, "patch").inc()
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self._request("PATCH", resource.path(namespace, name), query=query, body=patch, content_type=MERGE)

    async def replace(self, resource: Resource, body: JsonObject) -> JsonObject:
        """Update the whole object at the resourceVersion it carries."""
        metadata = body["metadata"]
        telemetry.WRITES.labels(resource.plural, "update").inc()
        return await self._request("PUT", resource.path(metadata.get("namespace", ""), metadata["name"]), body=body)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", resource_version: str = ""
    ) -> None:
        """Delete; gone already is fine. Conflict if uid or resourceVersion is not the current one."""
        telemetry.WRITES.labels(resource.plural, "delete").inc()
        preconditions = {"uid": uid} if uid else {}
        if resource_version:
            preconditions["resourceVersion"] = resource_version
        body: JsonObject = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if preconditions:
            body["preconditions"] = preconditions
        try:
            await self._request("DELETE", resource.path(namespace, name), body=body)
        except errors.NotFound:
            return

    async def review_token(self, token: str, *, audience: str) -> JsonObject:
        """TokenReview of a ServiceAccount token; returns its status."""
        body = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": TOKEN_REVIEWS.kind,
            "spec": {"token": token, "audiences": [audience]},
        }
        answer = await self._request("POST", TOKEN_REVIEWS.path(), body=body)
        status: JsonObject = answer.get("status") or {}
        return status

    async def _bearer(self) -> str | None:
        settings = await self._configuration.auth_settings()
        bearer = settings.get("BearerToken")
        return str(bearer["value"]) if bearer and bearer.get("value") else None

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: JsonObject | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> JsonObject:
        """One request with retries.

        A create that is repeated after a lost answer ends as AlreadyExists: callers read then.
        """
        url = f"{self._configuration.host}{path}" + (f"?{parse.urlencode(query)}" if query else "")
        attempt = 0
        reloaded = False
        while True:
            try:
                return await self._once(method, url, body, {"Accept": accept, "Content-Type": content_type})
            except errors.Forbidden as exc:
                if exc.status != 401 or reloaded:
                    raise
                reloaded = True  # a kubeconfig's token file is read once by the library, and such tokens rotate
                await _load(self._configuration)
            except errors.Unavailable as exc:
                delay = backoff.request_delay_s(attempt, retry_after_s=exc.retry_after_s, jitter=random.random())  # noqa: S311 - jitter
                if delay is None:
                    telemetry.API_ERRORS.labels(type(exc).__name__).inc()
                    raise
                attempt += 1
                await asyncio.sleep(delay)

    async def _once(self, method: str, url: str, body: JsonObject | None, headers: dict[str, str]) -> JsonObject:
        headers = {**headers, "User-Agent": "hawse-operator"}
        if bearer := await self._bearer():
            headers["Authorization"] = bearer
        try:
            response = await self._rest.request(  # type: ignore[no-untyped-call]  # the library's own
                method, url, headers=headers, body=body, _request_timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
            )
            raw = await response.read()
        except TimeoutError as exc:
            raise errors.Unavailable(f"{method} {url}: no answer within {TIMEOUT_S:.0f} s") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise errors.Unavailable(f"{method} {url}: {exc}") from exc
        if 200 <= response.status < 300:
            result: JsonObject = json.loads(raw)
            return result
        raise to_error(method, parse.urlsplit(url).path, response.status, raw, response.headers.get("Retry-After"))


async def _load(configuration: kubernetes_client.Configuration) -> None:
    try:
        if path := os.environ.get("KUBECONFIG"):
            await kubernetes_config.load_kube_config(config_file=path, client_configuration=configuration)  # type: ignore[no-untyped-call]  # the library's own
        else:
            kubernetes_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # as above
    except (kubernetes_config.ConfigException, OSError) as exc:
        raise errors.SettingsError(
            f"There is no way to the API server: {exc} Set KUBECONFIG, or run in a pod with a ServiceAccount."
        ) from exc


def to_error(method: str, path: str, status: int, raw: bytes, retry_after: str | None) -> errors.KubernetesError:
    """The error class for an answer of the API server, whose own message never echoes a Secret's data."""
    try:
        answer = json.loads(raw)
        message, reason = str(answer.get("message", "")), str(answer.get("reason", ""))
    except (ValueError, AttributeError):
        message, reason = raw[:200].decode("utf-8", "replace"), ""
    text = f"{method} {path}: {status} {message}"
    match status:
        case 404:
            return errors.NotFound(text, status=status)
        case 409:
            return (errors.AlreadyExists if reason == "AlreadyExists" else errors.Conflict)(text, status=status)
        case 401 | 403:
            return errors.Forbidden(text, status=status)
        case 410:
            return errors.Expired(text, status=status)
        case 429 | 500 | 502 | 503 | 504:
            delay = float(retry_after) if retry_after and retry_after.isdigit() else None
            return errors.Unavailable(text, status=status, retry_after_s=delay)
        case _:
            return errors.Invalid(text, status=status)
