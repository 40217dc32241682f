"""Reconcile ExitNodes: apply their Deployment and what is around it, correct foreign edits, write the status.

The pods enrol and get their configuration by themselves (control); here it is only judged whether they have.
"""

import logging
import time
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator import telemetry
from hawse_operator.dns import standing as standings
from hawse_operator.dns import weights
from hawse_operator.k8s import events
from hawse_operator.k8s.resources import (
    AUTOSCALERS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    EXIT_NODES,
    NETWORK_POLICIES,
    SERVICES,
    Resource,
)
from hawse_operator.manifests import deployments, merging, metadata, networkpolicies, scaling, services
from hawse_operator.policies import corrections, exitnodes, facts, readiness, violations
from hawse_operator.reconcile import ports
from hawse_operator.reconcile.cache import Key, key_of
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import statuses

logger = logging.getLogger(__name__)

Condition, Reason = names.Condition, names.Reason
WEIGHTS = ("asked", "effective")
"""Kinds of the weights in metrics."""
SUMMED = (Condition.ACCEPTED, Condition.PROGRAMMED)


class ExitNodeReconciler:
    """Remembers whose edits it put back lately. Deletion needs nothing: the children have owner references."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._corrections: corrections.Corrections[Key] = corrections.Corrections()

    async def reconcile(self, key: Key) -> float | None:
        """One ExitNode."""
        context = self._context
        body = context.world.cache[EXIT_NODES].get(key)
        if body is None:
            context.world.forget(key)
            for kind in WEIGHTS:
                telemetry.forget(telemetry.WEIGHT, key.name, kind)
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
        waits = [context.settling_s]
        if not found and given.fleet is not None:
            waits += await self._apply(exit_node, given.fleet)
        await self._write(exit_node, found)
        return min((wait for wait in waits if wait), default=None)

    async def _apply(self, exit_node: v1alpha1.ExitNode, fleet: v1alpha1.Fleet) -> list[float]:
        """Bring the children to what they should be; returns in how many seconds some are put back, if not now."""
        settings = self._context.settings
        namespace, tcp_ports = settings.pod_namespace, ports.in_use(self._context.world, fleet)
        policy = networkpolicies.build_network_policy(exit_node, namespace=namespace, tcp_ports=tcp_ports)
        around = {
            AUTOSCALERS: scaling.build_autoscaler(exit_node, namespace=namespace),
            DISRUPTION_BUDGETS: scaling.build_disruption_budget(exit_node, namespace=namespace),
            SERVICES: services.build_service(exit_node, fleet, namespace=namespace, tcp_ports=tcp_ports),
            NETWORK_POLICIES: policy if settings.network_policies else None,
        }
        for resource in (resource for resource, wanted in around.items() if wanted is None):
            await self._remove(exit_node, resource)  # an autoscaler before its replicas are put back
        waits = [await self._ensure(exit_node, DEPLOYMENTS, self._deployment(exit_node, fleet))]
        for resource, wanted in around.items():
            if wanted is not None:
                waits.append(await self._ensure(exit_node, resource, metadata.with_fingerprint(wanted)))
        return waits

    def _deployment(self, exit_node: v1alpha1.ExitNode, fleet: v1alpha1.Fleet) -> dict[str, Any]:
        settings, world = self._context.settings, self._context.world
        built = deployments.build_deployment(
            exit_node,
            namespace=settings.pod_namespace,
            image=settings.exitnode_image,
            min_drain_s=exitnodes.min_drain_s(exit_node, fleet),
        )
        wanted = metadata.with_fingerprint(built)
        if exit_node.spec.autoscaling is None:
            return wanted
        live = world.cache[DEPLOYMENTS].get(key_of(DEPLOYMENTS, wanted))
        return scaling.with_replicas(wanted, world.desired_replicas(exit_node), live)

    async def _remove(self, exit_node: v1alpha1.ExitNode, resource: Resource) -> None:
        for unwanted in self._context.world.cache[resource].select("exit_node", exit_node.name):
            described = unwanted["metadata"]
            await self._context.client.delete(resource, described["namespace"], described["name"], uid=described["uid"])

    async def _ensure(self, exit_node: v1alpha1.ExitNode, resource: Resource, wanted: dict[str, Any]) -> float:
        """Apply a child that is not as `wanted`, which has its fingerprint; returns in how many seconds, if not now."""
        key = key_of(resource, wanted)
        live = self._context.world.cache[resource].get(key)
        if live is not None and merging.covers(live, wanted):
            return 0.0
        if live is None or metadata.has_fingerprint_of(live, wanted):
            match self._corrections.decide(key, now=time.monotonic()):
                case corrections.Wait(seconds):
                    return seconds
                case corrections.Go(is_war=True):
                    self._tell_of_war(exit_node, resource, key)
        self._context.learn(resource, await self._context.client.apply(resource, wanted))
        extra = {"kind": resource.kind, "object": key.name, "was_there": live is not None}
        logger.info("applied", extra=extra)
        return 0.0

    def _tell_of_war(self, exit_node: v1alpha1.ExitNode, resource: Resource, key: Key) -> None:
        text = (
            f"Somebody keeps changing {resource.kind} {key.namespace}/{key.name}, which belongs to this ExitNode: "
            f"it is put back ever more rarely, at least every {corrections.CAP_S:.0f} s. Change the ExitNode instead "
            "(spec.deployment.managed.podTemplatePatch)."
        )
        logger.warning("foreign edits", extra={"kind": resource.kind, "object": key.name})
        note = events.Note(
            events.regarding(exit_node), is_warning=True, reason=Reason.FOREIGN_EDITS, action="Correct", text=text
        )
        self._context.recorder.record(note)

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
        judgements.append(exitnodes.judge_draining(exit_node, pods))
        fleet = world.fleets().get(exit_node.spec.fleet_name)
        addresses = world.addresses(exit_node)
        judgements += self._judge_dns(exit_node, fleet, addresses)
        effective = weights.effective_weight(world.dns_node(exit_node, fleet)) if fleet else None
        for kind, weight in zip(WEIGHTS, (exit_node.spec.weight, effective or 0), strict=True):
            telemetry.WEIGHT.labels(exit_node.name, kind).set(weight)
        fields = {
            "replicas": sum(not pod.is_ending for pod in pods),
            "desired_replicas": world.desired_replicas(exit_node),
            "ready_replicas": sum(pod.is_ready for pod in pods),
            "selector": ",".join(
                f"{key}={value}" for key, value in metadata.exit_node_selector(exit_node.name).items()
            ),
            "addresses": addresses[: v1alpha1.ADDRESSES_MAX],
            "agents": self._agents(exit_node),
            "effective_weight": effective,
        }
        new = statuses.build_status(
            exit_node.status, judgements, fields, generation=exit_node.generation, now=context.now
        )
        await context.write_status(EXIT_NODES, exit_node, exit_node.status, new)

    def _judge_dns(
        self, exit_node: v1alpha1.ExitNode, fleet: v1alpha1.Fleet | None, addresses: tuple[str, ...]
    ) -> list[v1alpha1.Judgement]:
        standing = self._context.dns.get(exit_node.spec.fleet_name)
        if standing is None:
            return standings.judge_unmanaged(exit_node.status, fleet)
        return [standings.judge_exit_node(standing, addresses, self._context.world.ip_addresses(exit_node))]

    def _judge_programmed(self, exit_node: v1alpha1.ExitNode, pods: list[facts.Pod]) -> v1alpha1.Judgement | None:
        nodes = self._context.hub.nodes(exit_node.spec.fleet_name)
        connected = {name for name, node in nodes.items() if node.connected and node.snapshot_done}
        wanted = self._context.world.desired_replicas(exit_node)
        return readiness.judge_exit_node(pods, connected, wanted=wanted, settling=self._context.settling_s > 0)

    def _agents(self, exit_node: v1alpha1.ExitNode) -> int:
        agents = {
            agent
            for agent, sessions in self._context.world.agents().items()
            if any(session.exit_node == exit_node.name for session in sessions)
        }
        if not agents and self._context.settling_s:
            return exit_node.status.agents or 0
        return len(agents)
