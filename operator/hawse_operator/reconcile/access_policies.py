"""Reconcile AccessPolicies: read their Secrets, give policy and secrets to the fleets whose Tunnels name it, status.

There is no last good form: whatever is wrong makes the policy refuse everybody. Secrets are read by name and polled
(secret_versions); exit nodes of fleets without a Tunnel that may name the policy never get them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hawse_api import names, v1alpha1
from hawse_api.ir import ir_pb2
from hawse_operator import errors
from hawse_operator.k8s.resources import ACCESS_POLICIES, SECRETS
from hawse_operator.manifests import secrets
from hawse_operator.policies import access, readiness, violations
from hawse_operator.policies import providers as decisions
from hawse_operator.reconcile import key_sets, providers
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.context import Context
from hawse_operator.reconcile.world import World
from hawse_operator.translate import access as translate
from hawse_operator.translate import statuses

Condition, Reason = names.Condition, names.Reason
ACCEPTED = v1alpha1.judge(Condition.ACCEPTED, True, Reason.ACCEPTED)
BROKEN = "A Secret that it needs is missing or not readable."
"""What visitors are told; `kubectl describe accesspolicy` says which one."""
NOT_DISCOVERED = "Its identity provider could not be reached yet."


NO_KEYS = "The keys of a token issuer could not be fetched yet."


@dataclass(frozen=True, slots=True)
class Fetched:
    """Keys of token issuers."""

    keys: dict[str, str]
    """By issuer, the newest that are known."""
    problems: dict[str, str]
    """By issuer, why the last fetch came to nothing; empty: it did not."""

    def violation(self, one: v1alpha1.JwtIssuer) -> violations.Violation | None:
        """There are no keys of an issuer."""
        if one.issuer in self.keys:
            return None
        message = (
            f"The keys of {one.issuer} are not known: {one.jwks_uri}: {self.problems[one.issuer]}. Tried every minute."
        )
        return violations.Violation(Reason.KEYS_NOT_FETCHED, message)

    def stale(self) -> str:
        """Which keys are those of before."""
        found = [f"{issuer}: {problem}" for issuer, problem in self.problems.items() if problem]
        return f"Keys are those that were last fetched; {'; '.join(found)}." if found else ""


@dataclass(frozen=True, slots=True)
class Published:
    """Where a policy was published, and what with."""

    uid: str
    fleets: frozenset[str]
    methods: frozenset[str]


def named_by(world: World, tunnel: v1alpha1.Tunnel, fleet: v1alpha1.Fleet | None) -> tuple[access.Named, ...]:
    """The policies that count for a Tunnel, as they are found."""
    return tuple(
        access.Named(namespace, name, world.access_policy(namespace, name), by_fleet)
        for (namespace, name), by_fleet in access.policies_of(tunnel, fleet)
    )


def keys_of(named: Sequence[access.Named]) -> list[str]:
    """Their keys in IR."""
    return [translate.policy_key(one.policy.uid) for one in named if one.policy is not None]


class AccessPolicyReconciler:
    """Remembers what it published in this term; everything else comes from the world each time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._published: dict[Key, Published] = {}

    async def reconcile(self, key: Key) -> float | None:
        """One AccessPolicy; its Secrets are polled by their versions."""
        context = self._context
        body = context.world.cache[ACCESS_POLICIES].get(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            self._retract(key)
            context.secret_versions.forget(key)
            context.key_sets.keep(key, ())
            context.providers.forget(key)
            context.world.forget(key)
            return None
        uid = str(body["metadata"]["uid"])
        try:
            policy = context.world.parse(v1alpha1.AccessPolicy, key, body)
        except v1alpha1.ObjectInvalid as problem:
            fleets = self._published[key].fleets if key in self._published else frozenset()
            obj = translate.translate_unreadable_policy(uid, key.namespace, key.name)
            self._publish(key, Published(uid, fleets, frozenset()), obj, {})
            await context.write_invalid(ACCESS_POLICIES, v1alpha1.AccessPolicy, body, problem)
            return None
        prepared = await self._prepare(key, policy)
        fleets = frozenset(context.world.fleets_of_policy(policy))
        fetched = await self._fetch(key, policy, fleets)
        wrong = tuple(one.violation for one in prepared.values() if one.violation is not None)
        materials = {method: one.material for method, one in prepared.items() if one.violation is None}
        missing = tuple(violation for issuer in policy.spec.issuers if (violation := fetched.violation(issuer)))
        openid, standing, oidc = policy.spec.oidc, None, None
        if openid is not None:
            standing = await providers.stand(context, key, policy, openid)
            oidc = _translate(policy, openid, standing)
        is_undiscovered = openid is not None and oidc is None
        broken = BROKEN if wrong else NO_KEYS if missing else NOT_DISCOVERED if is_undiscovered else ""
        obj = translate.translate_policy(policy, key_sets=fetched.keys, oidc=oidc, broken=broken)
        self._publish(key, Published(uid, fleets, frozenset(materials)), obj, materials)
        await self._write(policy, (*wrong, *missing), fetched, standing)
        due = [key_sets.REFRESH_AFTER] if policy.spec.issuers else []
        due += [standing.again] if standing else []
        return min(due).total_seconds() if due else None

    # --- keys of token issuers ---------------------------------------------------------------------------------------
    async def _fetch(self, key: Key, policy: v1alpha1.AccessPolicy, fleets: frozenset[str]) -> "Fetched":
        """The newest known keys of each issuer; what is due is fetched, and this policy woken."""
        sets, known = self._context.key_sets, self._context.world.fleets()
        allowed = tuple(cidr for name in sorted(fleets) for cidr in known[name].spec.targets.allowed_cidrs)
        questions = {one.issuer: key_sets.Question(one.jwks_uri, allowed) for one in policy.spec.issuers}
        sets.keep(key, tuple(questions.values()))
        kept = {(one.issuer, one.jwks_uri): one.jwks for one in policy.status.key_sets}
        fetched = Fetched({}, {})
        for issuer, question in questions.items():
            if sets.is_due(key, question):
                await sets.ask(key, question)
            answer = sets.answer(key, question)
            keys = (answer.keys if answer else "") or kept.get((issuer, question.url), "")
            if keys:
                fetched.keys[issuer] = keys
            fetched.problems[issuer] = answer.problem if answer else "" if keys else "it is being fetched"
        return fetched

    # --- Secrets -----------------------------------------------------------------------------------------------------
    async def _prepare(self, key: Key, policy: v1alpha1.AccessPolicy) -> dict[str, access.Prepared]:
        """Secret bytes of each method that needs some."""
        spec, versions, prepared = policy.spec, dict[str, str](), dict[str, access.Prepared]()
        if spec.basic is not None:
            secret, versions[spec.basic.secret_ref.name] = await self._read(key.namespace, spec.basic.secret_ref.name)
            prepared[translate.BASIC] = access.prepare_users(key.namespace, secret)
        if spec.api_keys is not None:
            name = spec.api_keys.secret_ref.name
            secret, versions[name] = await self._read(key.namespace, name)
            prepared[translate.API_KEYS] = access.prepare_keys(key.namespace, secret)
        if spec.oidc is not None and spec.oidc.client_secret_ref is not None:
            name = spec.oidc.client_secret_ref.name
            secret, versions[name] = await self._read(key.namespace, name)
            prepared[translate.OIDC] = access.prepare_client_secret(key.namespace, secret)
        self._context.secret_versions.saw(key, versions)
        return prepared

    async def _read(self, namespace: str, name: str) -> tuple[access.SecretRead, str]:
        """A Secret and its version; empty: there is none."""
        try:
            body = await self._context.client.get(SECRETS, namespace, name)
        except errors.NotFound:
            return access.SecretRead(name, None), ""
        return access.SecretRead(name, secrets.read_all(body)), str(body["metadata"]["resourceVersion"])

    # --- what exit nodes hold ----------------------------------------------------------------------------------------
    def _publish(self, key: Key, now: Published, obj: ir_pb2.Object, materials: Mapping[str, bytes]) -> None:
        """Secrets before the policy that names them; what is held no more goes."""
        hub, before = self._context.hub, self._published.get(key)
        if before is not None and before.uid != now.uid:
            self._retract(key)  # made anew under its old name
            before = None
        for fleet in now.fleets:
            for method, material in materials.items():
                hub.put_material(fleet, translate.material_id(now.uid, method), material)
            hub.publish(fleet, obj)
        if before is not None:
            for fleet in before.fleets:
                gone = before.methods - now.methods if fleet in now.fleets else before.methods
                self._drop(fleet, now.uid, gone, with_policy=fleet not in now.fleets)
        self._published[key] = now
        self._context.first_round.done(key)

    def _retract(self, key: Key) -> None:
        before = self._published.pop(key, None)
        if before is not None:
            for fleet in before.fleets:
                self._drop(fleet, before.uid, before.methods, with_policy=True)
        self._context.first_round.done(key)

    def _drop(self, fleet: str, uid: str, methods: frozenset[str], *, with_policy: bool) -> None:
        if with_policy:
            self._context.hub.retract(fleet, translate.policy_key(uid))
        for method in methods:
            self._context.hub.retract(fleet, f"material/{translate.material_id(uid, method)}")

    # --- the status --------------------------------------------------------------------------------------------------
    async def _write(
        self,
        policy: v1alpha1.AccessPolicy,
        wrong: tuple[violations.Violation, ...],
        fetched: "Fetched",
        standing: providers.Standing | None,
    ) -> None:
        resolved = violations.to_judgement(Condition.RESOLVED_REFS, wrong, Reason.RESOLVED)
        if not wrong and (stale := fetched.stale()):
            resolved = v1alpha1.judge(Condition.RESOLVED_REFS, True, Reason.RESOLVED, stale)
        sets = tuple(
            v1alpha1.KeySet(issuer=one.issuer, jwks_uri=one.jwks_uri, jwks=fetched.keys[one.issuer])
            for one in policy.spec.issuers
            if one.issuer in fetched.keys
        )
        judgements, needed = [ACCEPTED, resolved], [Condition.ACCEPTED, Condition.RESOLVED_REFS]
        if standing is not None:
            judgements.append(standing.judgement)
            needed += [Condition.DISCOVERED] if standing.provider is None else []  # what it said before is enough
        ready = readiness.judge_ready(judgements, needed)
        fields = {"key_sets": sets, "provider": standing.provider if standing else None}
        new = statuses.build_status(
            policy.status, [*judgements, ready], fields, generation=policy.generation, now=self._context.now
        )
        await self._context.write_status(ACCESS_POLICIES, policy, policy.status, new)


def _translate(
    policy: v1alpha1.AccessPolicy, openid: v1alpha1.OpenId, standing: providers.Standing
) -> ir_pb2.Oidc | None:
    """For exit nodes; None: nobody can sign in."""
    if standing.provider is None:
        return None
    method = decisions.auth_method(standing.provider, has_secret=openid.client_secret_ref is not None)
    if isinstance(method, decisions.Problem):
        return None
    return translate.translate_provider(policy, openid, standing.provider, keys=standing.keys, auth_method=method)
