"""What an AgentToken comes to: is it issued, expired, used up; when does its Secret change.

Pure. Called by reconcile.agent_tokens and reconcile.books. The text itself is made by translate.token_text.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

from hawse_api import names, v1alpha1

Condition, Reason = names.Condition, names.Reason
NO_FLEET = "It is not clear which Fleet the token leads to: make a Tunnel that names it, or a Fleet called default."
REISSUE_MAX = 256
"""Bound of status.reissue."""


@dataclass(frozen=True, slots=True)
class Issued:
    """What the token's Secret says."""

    is_ours: bool
    """It carries the operator's label and belongs to this AgentToken."""
    secret: bytes = field(repr=False)
    """Empty: the text in it cannot be read."""
    issued_at: datetime
    reissue: str
    """Value of the annotation hawse.dev/reissue that it was made for."""


class SecretAction(Enum):
    """What happens to the token's Secret."""

    KEEP = auto()
    """The secret bytes stay; the text around them may change."""
    NEW = auto()
    """New secret bytes."""
    DELETE = auto()
    """A Once token has enrolled its agent."""
    NOTHING = auto()
    """There is none, and none is made."""


@dataclass(frozen=True, slots=True)
class TokenState:
    """What an AgentToken comes to now."""

    action: SecretAction
    issued_at: datetime | None
    expires_at: datetime | None
    is_expired: bool = False
    is_used_up: bool = False
    is_foreign: bool = False
    """A Secret of this name exists and is somebody else's."""
    lacks_fleet: bool = False
    """It would be issued, but it is not clear to which Fleet it leads."""


def is_used_up(token: v1alpha1.AgentToken) -> bool:
    """Whether a Once token has enrolled its agent, and nobody has asked for a new one since."""
    return token.spec.uses is v1alpha1.Uses.ONCE and bool(token.status.agent_ids) and not resets_agents(token)


def expires_at(expiry: v1alpha1.Expiry, issued_at: datetime) -> datetime | None:
    """When a token stops admitting agents; None: never."""
    match expiry.type:
        case v1alpha1.ExpiryType.TTL:
            return issued_at + timedelta(seconds=v1alpha1.duration_s(expiry.ttl or "0s"))
        case v1alpha1.ExpiryType.TIME:
            return expiry.time
        case v1alpha1.ExpiryType.NEVER:
            return None


def wanted_reissue(token: v1alpha1.AgentToken) -> str:
    """Value of the annotation that asks for a new secret; empty if there is none."""
    return token.metadata.annotations.get(names.ANNOTATION_REISSUE, "")[:REISSUE_MAX]


def resets_agents(token: v1alpha1.AgentToken) -> bool:
    """Whether a Once token is issued anew and has room for one agent again; the earlier one is not renewed any more."""
    is_asked_anew = wanted_reissue(token) != (token.status.reissue or "")
    return token.spec.uses is v1alpha1.Uses.ONCE and is_asked_anew and bool(token.status.agent_ids)


def decide_token(token: v1alpha1.AgentToken, issued: Issued | None, *, has_fleet: bool, now: datetime) -> TokenState:
    """What happens to the Secret, and until when the token admits agents."""
    if issued is not None and not issued.is_ours:
        return TokenState(SecretAction.NOTHING, None, None, is_foreign=True)
    if is_used_up(token):
        ended = token.status.expiration_time
        return TokenState(SecretAction.DELETE if issued else SecretAction.NOTHING, None, ended, is_used_up=True)
    if issued is None or not issued.secret or issued.reissue != wanted_reissue(token):
        if not has_fleet:
            return TokenState(SecretAction.NOTHING, None, None, lacks_fleet=True)
        return _state(SecretAction.NEW, token, now, now)
    return _state(SecretAction.KEEP, token, issued.issued_at, now)


def _state(action: SecretAction, token: v1alpha1.AgentToken, issued_at: datetime, now: datetime) -> TokenState:
    end = expires_at(token.spec.expiry, issued_at)
    return TokenState(action, issued_at, end, is_expired=end is not None and end <= now)


def judge_issued(token: v1alpha1.AgentToken, state: TokenState, *, secret_name: str) -> v1alpha1.Judgement:
    """Issued: a Secret with a usable text exists."""
    again = (
        f"kubectl annotate agenttoken {token.name} {names.ANNOTATION_REISSUE}=$(date +%s) --overwrite "
        f"-n {token.namespace}"
    )
    if state.is_foreign:
        message = (
            f'Secret "{secret_name}" exists in namespace {token.namespace} and is not the operator\'s. '
            "Delete it, or give the AgentToken another name."
        )
        return v1alpha1.judge(Condition.ISSUED, False, Reason.SECRET_IN_USE, message)
    if state.lacks_fleet:
        return v1alpha1.judge(Condition.ISSUED, False, Reason.FLEET_NOT_FOUND, NO_FLEET)
    if state.is_used_up:
        message = (
            f"The token was good for one agent, which has enrolled; its Secret is deleted. Issue a new one: {again}"
        )
        return v1alpha1.judge(Condition.ISSUED, False, Reason.USED_UP, message)
    if state.is_expired and state.expires_at is not None:
        day = state.expires_at.strftime("%Y-%m-%d %H:%M UTC")
        return v1alpha1.judge(
            Condition.ISSUED, False, Reason.EXPIRED, f"The token expired on {day}. Issue a new one: {again}"
        )
    return v1alpha1.judge(
        Condition.ISSUED, True, Reason.ISSUED, f'The text for hawse login is in Secret "{secret_name}".'
    )


def judge_token_ready(issued: v1alpha1.Judgement, *, fleet: str | None, has_addresses: bool) -> v1alpha1.Judgement:
    """Ready: issued, and the text names exit nodes that agents can reach."""
    if issued.status is not v1alpha1.ConditionStatus.TRUE:
        return v1alpha1.judge(Condition.READY, False, issued.reason, issued.message)
    if fleet is None:
        return v1alpha1.judge(Condition.READY, False, Reason.FLEET_NOT_FOUND, NO_FLEET)
    if not has_addresses:
        message = f"No exit node of Fleet {fleet} has an address yet: kubectl get exitnodes shows why."
        return v1alpha1.judge(Condition.READY, False, Reason.NO_EXIT_NODE, message)
    return v1alpha1.judge(Condition.READY, True, Reason.READY)
