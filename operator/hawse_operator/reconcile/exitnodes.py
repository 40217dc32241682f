"""Reconcile ExitNodes: apply Deployment and Service, correct foreign edits, write the status.

The pods enrol and get their configuration by themselves (control); here it is only judged whether they have.
"""

import logging
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator.k8s.resources import DEPLOYMENTS, EXIT_NODES, SERVICES, Resource
from hawse_operator.manifests import deployments, merging, metadata, services
from hawse_operator.policies import exitnodes, facts, readiness, violations
from hawse_operator.reconcile.cache import Key, key_of
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import statuses

logger = logging.getLogger(__name__)

Condition, Reason = names.Condition, names.Reason
SUMMED = (Condition.ACCEPTED, Condition.PROGRAMMED)


class ExitNodeReconciler:
    """Stateless. Deletion needs nothing: the children have owner references."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: Key) -> float | None:
        """One ExitNode."""
        context = self._context
        body = context.world.cache[EXIT_NODES].get(key)
        if body is None:
            context.world.forget(key)
            return None
        try:
            exit_node = context.world.parse(v1alpha1.ExitNode, key, body)
        except v1alpha1.ObjectInvalid as problem:
            await context.write_invalid(EXIT_NODES, v1alpha1.ExitNode, body, problem)
            return None
        if exit_node.is_deleting:
            return None
        given = exitnodes.ExitNodeInput(
            exit_node, context.world.fleets().get(exit_node.spec.fleet_name), context.world.fleet_names()
        )
        found = exitnodes.violations_of_exit_node(given)
        if not found and given.fleet is not None:
            await self._apply(exit_node, given.fleet)
        await self._write(exit_node, found)
        return context.settling_s or None

    async def _apply(self, exit_node: v1alpha1.ExitNode, fleet: v1alpha1.Fleet) -> None:
        settings = self._context.settings
        namespace = settings.pod_namespace
        deployment = deployments.build_deployment(exit_node, namespace=namespace, image=settings.exitnode_image)
        await self._ensure(DEPLOYMENTS, deployment)
        service = services.build_service(exit_node, fleet, namespace=namespace)
        if service is not None:
            await self._ensure(SERVICES, service)
            return
        for unwanted in self._context.world.cache[SERVICES].select("exit_node", exit_node.name):
            await self._context.client.delete(
                SERVICES, namespace, unwanted["metadata"]["name"], uid=unwanted["metadata"]["uid"]
            )

    async def _ensure(self, resource: Resource, wanted: dict[str, Any]) -> None:
        wanted = metadata.with_fingerprint(wanted)
        live = self._context.world.cache[resource].get(key_of(resource, wanted))
        if live is None or not merging.covers(live, wanted):
            self._context.learn(resource, await self._context.client.apply(resource, wanted))
            logger.info(
                "applied",
                extra={"kind": resource.kind, "object": wanted["metadata"]["name"], "was_there": live is not None},
            )

    async def _write(self, exit_node: v1alpha1.ExitNode, found: tuple[violations.Violation, ...]) -> None:
        context, world = self._context, self._context.world
        pods = world.pods_of(exit_node.name)
        judgements = [violations.to_judgement(Condition.ACCEPTED, found, Reason.ACCEPTED)]
        programmed = self._judge_programmed(exit_node, pods) if not found else None
        judgements.append(
            statuses.kept_or_unknown(
                exit_node.status,
                Condition.PROGRAMMED,
                programmed,
                reason=Reason.PENDING,
                message="Not accepted yet." if found else "Not known yet.",
            )
        )
        judgements.append(readiness.judge_ready(judgements, SUMMED))
        fields = {
            "replicas": len(pods),
            "ready_replicas": sum(pod.is_ready for pod in pods),
            "selector": ",".join(
                f"{key}={value}" for key, value in metadata.exit_node_selector(exit_node.name).items()
            ),
            "addresses": world.addresses(exit_node),
            "agents": self._agents(exit_node),
        }
        new = statuses.build_status(
            exit_node.status, judgements, fields, generation=exit_node.generation, now=context.now
        )
        await context.write_status(EXIT_NODES, exit_node, exit_node.status, new)

    def _judge_programmed(self, exit_node: v1alpha1.ExitNode, pods: list[facts.Pod]) -> v1alpha1.Judgement | None:
        nodes = self._context.hub.nodes(exit_node.spec.fleet_name)
        connected = {name for name, node in nodes.items() if node.connected and node.snapshot_done}
        return readiness.judge_exit_node(
            pods, connected, wanted=exit_node.spec.replicas, settling=self._context.settling_s > 0
        )

    def _agents(self, exit_node: v1alpha1.ExitNode) -> int:
        agents = {
            agent
            for agent, sessions in self._context.world.agents().items()
            if any(session.exit_node == exit_node.name for session in sessions)
        }
        if not agents and self._context.settling_s:
            return exit_node.status.agents or 0
        return len(agents)
