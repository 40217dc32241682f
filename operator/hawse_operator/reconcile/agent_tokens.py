"""Reconcile AgentTokens: the Secret with the text for `hawse login`, IR for every fleet that they may use, status.

The status is written only over the version it was decided on: reconcile.books counts agents in the same status, and
neither may undo the other. Secret bytes pass through here and go nowhere but into the Secret.
"""

import logging
import secrets as random_secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hawse_api import names, v1alpha1
from hawse_operator import errors
from hawse_operator.control import ca
from hawse_operator.k8s.resources import AGENT_TOKENS, SECRETS
from hawse_operator.manifests import secrets
from hawse_operator.policies import tokens
from hawse_operator.policies.tokens import SecretAction
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import agent_tokens as translate
from hawse_operator.translate import statuses, token_text

logger = logging.getLogger(__name__)

ACCEPTED = v1alpha1.judge(names.Condition.ACCEPTED, True, names.Reason.ACCEPTED)
"""Whatever its schema accepts is allowed; said so that a token that was Invalid once does not stay so."""


class AgentTokenReconciler:
    """Remembers in which fleets it published a token in this term."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._published: dict[Key, tuple[str, frozenset[str]]] = {}

    async def reconcile(self, key: Key) -> float | None:
        """One AgentToken; returns seconds until it expires."""
        context = self._context
        body = context.world.cache[AGENT_TOKENS].get(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            self._publish(key, None)
            context.secret_versions.forget(key)
            context.world.forget(key)
            return None
        try:
            token = context.world.parse(v1alpha1.AgentToken, key, body)
        except v1alpha1.ObjectInvalid as problem:
            context.first_round.done(key)  # a bad edit keeps the last good form: its agents stay connected
            await context.write_invalid(AGENT_TOKENS, v1alpha1.AgentToken, body, problem)
            return None
        self._publish(key, token)
        state, version = await self._issue(token)
        context.secret_versions.saw(key, {secrets.token_secret_name(token.name): version})
        if state.expires_at is None or state.is_expired:
            return None
        return max(1.0, (state.expires_at - context.now).total_seconds())

    def _publish(self, key: Key, token: v1alpha1.AgentToken | None) -> None:
        context = self._context
        uid, before = self._published.pop(key, ("", frozenset()))
        now = frozenset(fleet.name for fleet in context.world.fleets_open_to(key.namespace)) if token else frozenset()
        for fleet in before:
            if token is None or uid != token.uid or fleet not in now:
                context.hub.retract(fleet, translate.token_key(uid))
        if token is not None:
            for fleet in now:
                context.hub.publish(fleet, translate.translate_agent_token(token))
            self._published[key] = (token.uid, now)
        context.first_round.done(key)

    # --- the Secret --------------------------------------------------------------------------------------------------
    async def _issue(self, token: v1alpha1.AgentToken) -> tuple[tokens.TokenState, str]:
        """Bring Secret and status to what they should be; also returns the Secret's version, empty if there is none."""
        live = await self._read(token)
        fleet = self._context.world.fleet_of_token(token)
        state = tokens.decide_token(token, read_issued(token, live), has_fleet=fleet is not None, now=self._context.now)
        addresses = self._context.world.agent_addresses(fleet) if fleet else {}
        if tokens.resets_agents(token):
            # Status first: an agent that enrols with the new secret must not be forgotten by this write.
            await self._write_status(token, state, fleet, has_addresses=bool(addresses))
            version = await self._write_secret(token, live, state, fleet, addresses)
        else:
            version = await self._write_secret(token, live, state, fleet, addresses)
            await self._write_status(token, state, fleet, has_addresses=bool(addresses))
        return state, version

    async def _read(self, token: v1alpha1.AgentToken) -> dict[str, Any] | None:
        client = self._context.client
        try:
            live = await client.get(SECRETS, token.namespace, secrets.token_secret_name(token.name))
        except errors.NotFound:
            return None
        if not is_of_earlier_token(token, live):
            return live
        # The garbage collector will delete it too, but may take half a minute; until then the name would look taken.
        await client.delete(SECRETS, token.namespace, live["metadata"]["name"], uid=live["metadata"]["uid"])
        return None

    async def _write_secret(
        self,
        token: v1alpha1.AgentToken,
        live: dict[str, Any] | None,
        state: tokens.TokenState,
        fleet: v1alpha1.Fleet | None,
        addresses: Mapping[str, int],
    ) -> str:
        """Returns the version of the Secret that is there afterwards; empty: there is none."""
        client = self._context.client
        if state.action is SecretAction.DELETE and live is not None:
            await client.delete(SECRETS, token.namespace, live["metadata"]["name"], uid=live["metadata"]["uid"])
            logger.info("token used up", extra={"namespace": token.namespace, "token": token.name})
            live = None
        if state.issued_at is None or fleet is None:
            return _version_of(live)
        if state.action is SecretAction.KEEP and not addresses:
            return _version_of(live)  # keeps the addresses that it had: exit nodes that restart come back to them
        secret = (
            _secret_of(live)
            if state.action is SecretAction.KEEP
            else random_secrets.token_bytes(token_text.SECRET_BYTES)
        )
        text = token_text.build_token_text(
            domain=fleet.spec.domain,
            addresses=addresses,
            ca_sha256=ca.ca_hashes(self._context.authority),
            token_id=token.uid,
            secret=secret,
        )
        wanted = secrets.build_token_secret(
            token, text=text, issued_at=state.issued_at, reissue=tokens.wanted_reissue(token)
        )
        if live is None:
            live = await client.create(SECRETS, wanted)
        elif secrets.read_data(live, secrets.TOKEN_KEY) != text.encode() or _annotations(live) != _annotations(wanted):
            live = await client.apply(SECRETS, wanted)
        if state.action is SecretAction.NEW:
            logger.info("token issued", extra={"namespace": token.namespace, "token": token.name})
        return _version_of(live)

    async def _write_status(
        self, token: v1alpha1.AgentToken, state: tokens.TokenState, fleet: v1alpha1.Fleet | None, *, has_addresses: bool
    ) -> None:
        secret_name = secrets.token_secret_name(token.name)
        issued = tokens.judge_issued(token, state, secret_name=secret_name)
        ready = tokens.judge_token_ready(issued, fleet=fleet.name if fleet else None, has_addresses=has_addresses)
        agents = () if tokens.resets_agents(token) else token.status.agent_ids
        fields = {
            "secret_name": secret_name if state.issued_at else None,
            "token_id": token.uid,
            "expiration_time": state.expires_at,
            "agent_ids": agents,
            "agents": len(agents),
            "reissue": tokens.wanted_reissue(token) or None,
        }
        new = statuses.build_status(
            token.status, (ACCEPTED, issued, ready), fields, generation=token.generation, now=self._context.now
        )
        await self._context.write_status(AGENT_TOKENS, token, token.status, new, conditional=True)


def is_of_earlier_token(token: v1alpha1.AgentToken, body: dict[str, Any]) -> bool:
    """Whether the operator made this Secret for an AgentToken of the same name that was deleted since."""
    described = body["metadata"]
    owners = [one for one in described.get("ownerReferences") or () if one.get("kind") == token.definition.kind]
    is_ours = (described.get("labels") or {}).get(names.LABEL_MANAGED_BY) == names.MANAGED_BY
    return is_ours and any(one["name"] == token.name and one["uid"] != token.uid for one in owners)


def read_issued(token: v1alpha1.AgentToken, body: dict[str, Any] | None) -> tokens.Issued | None:
    """What a token's Secret says; None: there is none."""
    if body is None:
        return None
    described = body["metadata"]
    owners = {owner.get("uid") for owner in described.get("ownerReferences") or ()}
    is_ours = (described.get("labels") or {}).get(names.LABEL_MANAGED_BY) == names.MANAGED_BY and token.uid in owners
    annotations = _annotations(body)
    try:
        issued_at = datetime.fromisoformat(annotations.get(secrets.ANNOTATION_ISSUED_AT, "")).astimezone(UTC)
    except ValueError:
        issued_at = datetime.fromisoformat(described["creationTimestamp"]).astimezone(UTC)
    return tokens.Issued(is_ours, _secret_of(body), issued_at, annotations.get(names.ANNOTATION_REISSUE, ""))


def _secret_of(body: dict[str, Any] | None) -> bytes:
    if body is None:
        return b""
    return token_text.read_secret(secrets.read_data(body, secrets.TOKEN_KEY).decode("ascii", "replace"))


def _version_of(body: dict[str, Any] | None) -> str:
    return str(body["metadata"]["resourceVersion"]) if body is not None else ""


def _annotations(body: dict[str, Any]) -> dict[str, str]:
    found = body["metadata"].get("annotations") or {}
    return {key: found[key] for key in (secrets.ANNOTATION_ISSUED_AT, names.ANNOTATION_REISSUE) if key in found}
