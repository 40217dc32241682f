"""What enrolment asks of Kubernetes: control.books' two Protocols over cache and client.

Tokens are found in the cache and verified with their Secret, read each time (it is the only copy of the secret).
Counting an agent is a write at a resourceVersion: two exit nodes that relay at once cannot both take the last place.
Called by control for each enrolment.
"""

from collections.abc import Mapping
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator import errors
from hawse_operator.control import books
from hawse_operator.control.hub import NodeIdentity
from hawse_operator.k8s.resources import AGENT_TOKENS, DEPLOYMENTS, EXIT_NODES, PODS, SECRETS, Resource
from hawse_operator.manifests import secrets
from hawse_operator.policies import tokens
from hawse_operator.reconcile.agent_tokens import read_issued
from hawse_operator.reconcile.context import Context

REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet", namespaced=True)
SERVICE_ACCOUNT = "hawse-exitnode"
POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
"""Extra fields of a bound ServiceAccount token (Kubernetes: "Bound service account tokens")."""


class Tokens:
    """AgentTokens as enrolment sees them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def find(self, token_id: str) -> books.TokenRecord | None:
        """The token with this id, which is the AgentToken's UID."""
        return await self.find_uid(token_id)

    async def find_uid(self, token_uid: str) -> books.TokenRecord | None:
        """The token of this AgentToken."""
        token = self._context.world.token_by_uid(token_uid)
        fleet = self._context.world.fleet_of_token(token) if token is not None else None
        if token is None or fleet is None:
            return None
        issued = read_issued(token, await self._secret(token))
        usable = issued is not None and issued.is_ours and issued.reissue == tokens.wanted_reissue(token)
        return books.TokenRecord(
            id=token.uid,
            uid=token.uid,
            namespace=token.namespace,
            name=token.name,
            fleet=fleet.name,
            domain=fleet.spec.domain,
            secret=issued.secret if issued is not None and usable else b"",
            expires_at=tokens.expires_at(token.spec.expiry, issued.issued_at) if issued is not None else None,
            once=token.spec.uses is v1alpha1.Uses.ONCE,
            used_up=tokens.is_used_up(token),
            deleting=token.is_deleting,
            max_agents=token.spec.max_agents,
            agents=frozenset(token.status.agent_ids),
            version=token.metadata.resource_version,
        )

    async def count(self, record: books.TokenRecord, agent_id: str) -> bool:
        """Write the agent into the status of exactly the version that the record is of."""
        context = self._context
        token = context.world.token_by_uid(record.uid)
        if token is None or token.metadata.resource_version != record.version:
            return False
        agents = (
            (*token.status.agent_ids, agent_id) if agent_id not in token.status.agent_ids else token.status.agent_ids
        )
        new = token.status.model_copy(
            update={"agent_ids": agents, "agents": len(agents), "last_used_time": context.now}
        )
        try:
            answer = await context.client.apply_status(
                AGENT_TOKENS, token.namespace, token.name, new.dump(), resource_version=record.version
            )
        except (errors.Conflict, errors.NotFound):
            await self._read_again(token)
            return False
        except errors.KubernetesError as exc:
            raise books.BookUnavailableError(str(exc)) from exc
        context.learn(AGENT_TOKENS, answer)
        return True

    async def _secret(self, token: v1alpha1.AgentToken) -> dict[str, Any] | None:
        try:
            return await self._context.client.get(SECRETS, token.namespace, secrets.token_secret_name(token.name))
        except errors.NotFound:
            return None
        except errors.KubernetesError as exc:
            raise books.BookUnavailableError(str(exc)) from exc

    async def _read_again(self, token: v1alpha1.AgentToken) -> None:
        context = self._context
        try:
            context.learn(AGENT_TOKENS, await context.client.get(AGENT_TOKENS, token.namespace, token.name))
        except errors.NotFound:
            context.unlearn(AGENT_TOKENS, token.namespace, token.name)
        except errors.KubernetesError as exc:
            raise books.BookUnavailableError(str(exc)) from exc


class Nodes:
    """Exit node pods as enrolment sees them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def review(self, service_account_token: str) -> NodeIdentity | books.NodeRefusal:
        """Ask the API server whose token it is, then follow the pod's owners up to an ExitNode."""
        try:
            status = await self._context.client.review_token(service_account_token, audience=names.TOKEN_AUDIENCE)
            bound = bound_pod(status, namespace=self._context.settings.pod_namespace)
            if isinstance(bound, books.NodeRefusal):
                return bound
            return await self._follow(*bound)
        except errors.NotFound as exc:
            return books.NodeRefusal(f"The pod or one of its owners is gone: {exc}")
        except errors.KubernetesError as exc:
            raise books.BookUnavailableError(str(exc)) from exc

    async def _follow(self, pod_name: str, pod_uid: str) -> NodeIdentity | books.NodeRefusal:
        client, namespace = self._context.client, self._context.settings.pod_namespace
        pod = await client.get(PODS, namespace, pod_name)
        if pod["metadata"].get("uid") != pod_uid:
            return books.NodeRefusal(f"Pod {pod_name} was made anew since its token was issued.")
        owner = controller_of(pod)
        for resource in (REPLICA_SETS, DEPLOYMENTS):
            if owner is None or owner.get("kind") != resource.kind:
                return books.NodeRefusal(f"Pod {pod_name} does not belong to a Deployment of an ExitNode.")
            body = await client.get(resource, namespace, owner["name"])
            if body["metadata"].get("uid") != owner.get("uid"):
                return books.NodeRefusal(f"{resource.kind} {owner['name']} was made anew since it made pod {pod_name}.")
            owner = controller_of(body)
        if owner is None or owner.get("kind") != EXIT_NODES.kind:
            return books.NodeRefusal(f"Pod {pod_name} does not belong to an ExitNode.")
        return self._identity(owner["name"], pod_name, uid=owner.get("uid"))

    def _identity(self, exit_node: str, pod: str, *, uid: str | None) -> NodeIdentity | books.NodeRefusal:
        found = self._context.world.exit_node(exit_node)
        if found is None or (uid is not None and found.uid != uid):
            return books.NodeRefusal(f'ExitNode "{exit_node}" does not exist any more.')
        fleet = self._context.world.fleets().get(found.spec.fleet_name)
        if fleet is None:
            return books.NodeRefusal(
                f'Fleet "{found.spec.fleet_name}" of ExitNode {exit_node} does not exist or is not accepted.'
            )
        return NodeIdentity(exit_node, pod, found.spec.region, fleet.name, fleet.spec.domain)

    def find(self, exit_node: str, pod: str) -> NodeIdentity | None:
        """Who a certificate's exit node is now."""
        found = self._identity(exit_node, pod, uid=None)
        return found if isinstance(found, NodeIdentity) else None

    def addresses(self, fleet: str) -> Mapping[str, int]:
        """Where agents reach a fleet."""
        found = self._context.world.fleets().get(fleet)
        return self._context.world.agent_addresses(found) if found is not None else {}


def bound_pod(status: dict[str, Any], *, namespace: str) -> tuple[str, str] | books.NodeRefusal:
    """Name and UID of the pod that a reviewed token is bound to."""
    if not status.get("authenticated") or names.TOKEN_AUDIENCE not in (status.get("audiences") or ()):
        return books.NodeRefusal(f'The ServiceAccount token is not valid for the audience "{names.TOKEN_AUDIENCE}".')
    user = status.get("user") or {}
    wanted = f"system:serviceaccount:{namespace}:{SERVICE_ACCOUNT}"
    if user.get("username") != wanted:
        return books.NodeRefusal(f"The token belongs to {user.get('username')}, not to {wanted}.")
    extra = user.get("extra") or {}
    name, uid = (next(iter(extra.get(field) or ()), "") for field in (POD_NAME, POD_UID))
    if not name or not uid:
        return books.NodeRefusal("The token is not bound to a pod: use a projected token.")
    return name, uid


def controller_of(body: dict[str, Any]) -> dict[str, Any] | None:
    """The owner that controls an object."""
    owners = body["metadata"].get("ownerReferences") or ()
    return next((dict(owner) for owner in owners if owner.get("controller")), None)
