"""How a policy stands with its identity provider: asked every ten minutes, remembered in the status.

While the provider cannot be reached, what it said last counts; one that was never reached lets nobody in. Called by
reconcile.access_policies.
"""

from dataclasses import dataclass
from datetime import timedelta

from hawse_api import names, v1alpha1
from hawse_operator.policies import providers
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import statuses

REFRESH = timedelta(minutes=10)
RETRY = timedelta(seconds=15)
Condition, Reason = names.Condition, names.Reason


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a provider now."""

    provider: v1alpha1.ProviderStatus | None
    """None: it was never reached, or is not usable."""
    keys: bytes
    judgement: v1alpha1.Judgement
    again: timedelta


async def stand(context: Context, key: Key, policy: v1alpha1.AccessPolicy, openid: v1alpha1.OpenId) -> Standing:
    """What is known, asking again if it is time."""
    known = policy.status.provider
    last = known if known is not None and known.issuer == openid.issuer else None
    question = providers.Question(openid.issuer, _allowed_cidrs(context, policy))
    answer = context.providers.answer(key, question)
    if answer is None:
        await context.providers.ask(key, question)
        judgement = statuses.kept_or_unknown(
            policy.status, Condition.DISCOVERED, None, reason=Reason.PENDING, message="The provider is being asked."
        )
        return Standing(last, b"", judgement, RETRY)
    judged = providers.judge(openid.issuer, answer.seen)
    if not isinstance(judged, providers.Problem):
        method = providers.auth_method(judged, has_secret=openid.client_secret_ref is not None)
        judged = method if isinstance(method, providers.Problem) else judged
    every = RETRY if isinstance(judged, providers.Problem) else REFRESH
    due = answer.at + every - context.now
    if due <= timedelta(0):
        await context.providers.ask(key, question)
    again = max(due, RETRY)
    if not isinstance(judged, providers.Problem):
        found = v1alpha1.judge(Condition.DISCOVERED, True, Reason.DISCOVERED)
        return Standing(judged, answer.seen.keys, found, again)
    return Standing(last, b"", _judge_problem(judged, last), again)


def _judge_problem(problem: providers.Problem, last: v1alpha1.ProviderStatus | None) -> v1alpha1.Judgement:
    reason = Reason.PROVIDER_UNREACHABLE if problem.is_unreachable else Reason.PROVIDER_NOT_USABLE
    rest = "What it said before counts on." if last else "Until it does, nobody is let in."
    return v1alpha1.judge(Condition.DISCOVERED, False, reason, f"{problem.message} {rest}")


def _allowed_cidrs(context: Context, policy: v1alpha1.AccessPolicy) -> tuple[str, ...]:
    """Of the fleets that the policy is for: the operator asks for all of them."""
    fleets = context.world.fleets()
    names_ = sorted(context.world.fleets_of_policy(policy))
    return tuple(dict.fromkeys(cidr for name in names_ for cidr in fleets[name].spec.targets.allowed_cidrs))
