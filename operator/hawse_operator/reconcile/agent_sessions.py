"""Reconcile AgentSessions: objects that show who is connected, from what exit nodes report.

Nobody configures anything with them. When one is written is decided in policies.sessions. Deleting the AgentToken
deletes them (owner reference).
"""

from datetime import timedelta

from hawse_api import v1alpha1
from hawse_operator import errors
from hawse_operator.k8s.resources import AGENT_SESSIONS, TUNNELS
from hawse_operator.manifests import metadata
from hawse_operator.policies import sessions
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import statuses


class AgentSessionReconciler:
    """Stateless."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: Key) -> float | None:
        """One AgentSession, of an agent that is connected or was."""
        context = self._context
        existing = context.world.find(v1alpha1.AgentSession, AGENT_SESSIONS, key.namespace, key.name)
        found = self._agent(key, existing)
        if found is None:
            context.world.forget(key)
            return None
        token, agent_id = found
        live = self._live(token, agent_id)
        settling_s = context.settling_s
        decision = sessions.decide_session(
            existing.status if existing else None, live, settling=settling_s > 0, now=context.now
        )
        match decision:
            case sessions.Keep(again_in):
                return _seconds(again_in) or settling_s or None
            case sessions.Delete():
                await context.client.delete(AGENT_SESSIONS, key.namespace, key.name)
                context.unlearn(AGENT_SESSIONS, key.namespace, key.name)
                return None
            case sessions.Write(status):
                await self._write(existing or await self._create(key, token, agent_id), status)
                return sessions.KEPT_FOR.total_seconds() if not status.exit_nodes else None

    def _agent(self, key: Key, existing: v1alpha1.AgentSession | None) -> tuple[v1alpha1.AgentToken, str] | None:
        """Token and id of the agent; the name alone has only a hash of the id."""
        world = self._context.world
        if existing is not None:
            token = world.token(key.namespace, existing.spec.token_name)
            return (token, existing.spec.agent_id) if token is not None else None
        for token_uid, agent_id in world.agents():
            token = world.token_by_uid(token_uid)
            if (
                token is not None
                and token.namespace == key.namespace
                and metadata.session_name(token.name, agent_id) == key.name
            ):
                return token, agent_id
        return None

    def _live(self, token: v1alpha1.AgentToken, agent_id: str) -> sessions.Live | None:
        links = self._context.world.sessions_of_agent(token.uid, agent_id)
        if not links:
            return None
        by_uid = self._context.world.cache[TUNNELS]
        served = {uid.removesuffix("/standby") for link in links for uid in link.tunnel_uids}
        tunnels = sorted(
            body["metadata"]["name"]
            for uid in served
            for body in by_uid.select("uid", uid)
            if body["metadata"].get("namespace") == token.namespace
        )
        newest = max(links, key=lambda link: link.connected_at)
        connections = tuple(
            v1alpha1.Connection(
                name=link.exit_node,
                region=link.region,
                pod=link.pod,
                transport=link.transport[:16] or "quic",
                rtt_milliseconds=link.rtt_ms,
                since=link.connected_at.replace(microsecond=0),
            )
            for link in sorted(
                {(link.exit_node, link.pod): link for link in links}.values(),
                key=lambda link: (link.exit_node, link.pod),
            )
        )
        return sessions.Live(newest.hostname, newest.agent_version, connections[:64], tuple(tunnels[:256]))

    async def _create(self, key: Key, token: v1alpha1.AgentToken, agent_id: str) -> v1alpha1.AgentSession:
        context = self._context
        body = {
            "apiVersion": AGENT_SESSIONS.api_version,
            "kind": AGENT_SESSIONS.kind,
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "labels": metadata.common_labels(name="hawse", instance=token.name, component="agent-session"),
                "ownerReferences": [metadata.owner_reference(token)],
            },
            "spec": {"tokenName": token.name, "agentID": agent_id},
        }
        try:
            made = await context.client.create(AGENT_SESSIONS, body)
        except errors.AlreadyExists:
            made = await context.client.get(AGENT_SESSIONS, key.namespace, key.name)
        context.intake.learn(AGENT_SESSIONS, made, wakes_itself=False)
        return v1alpha1.AgentSession.from_object(made)

    async def _write(self, session: v1alpha1.AgentSession, status: v1alpha1.AgentSessionStatus) -> None:
        judgement = sessions.judge_session(status)
        new = statuses.build_status(status, (judgement,), {}, generation=session.generation, now=self._context.now)
        await self._context.write_status(AGENT_SESSIONS, session, session.status, new)


def _seconds(delta: timedelta | None) -> float | None:
    return delta.total_seconds() if delta is not None else None
