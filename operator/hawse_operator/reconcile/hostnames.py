"""The proof of a host name outside the Fleets' domains: what is known, what was seen, and what has to be looked up.

What was proved stands in the reservation and survives a restart. Called by reconcile.tunnels.
"""

from hawse_api import v1alpha1
from hawse_operator.policies import claims, hosts
from hawse_operator.reconcile.cache import Key
from hawse_operator.reconcile.context import Context


async def prove(
    context: Context, key: Key, tunnel: v1alpha1.Tunnel, fleet: v1alpha1.Fleet, namespace_uid: str
) -> hosts.Proof:
    """The proof as far as it is known; `again_after` counts from now."""
    hostname, now = (tunnel.spec.host.hostname if tunnel.spec.host else None) or "", context.now
    challenge = hosts.challenge_of(hostname, namespace_uid, fleet.spec.domain)
    known = _known(context, hostname, tunnel, namespace_uid)
    if known is not None and hosts.is_fresh(known, now=now):
        return hosts.Proof(known, None, known.verified_at + hosts.PROOF_LASTS - now)
    question = hosts.Question(hostname, challenge.record)
    answer = context.look_ups.answer(key, question)
    if answer is None:
        await context.look_ups.ask(key, question)
        return hosts.unseen(hostname, challenge, known)
    domains = [other.spec.domain for other in context.world.fleets().values()]
    proof = hosts.decide_proof(hostname, challenge, known, answer.seen, domains=domains, now=answer.at)
    if now >= answer.at + proof.again_after:
        await context.look_ups.ask(key, question)
    return hosts.Proof(proof.verification, proof.violation, max(answer.at + proof.again_after - now, hosts.SOON))


def _known(
    context: Context, hostname: str, tunnel: v1alpha1.Tunnel, namespace_uid: str
) -> v1alpha1.Verification | None:
    reservation = context.world.reservation(hostname)
    if reservation is None or not claims.is_claim_of(reservation, namespace_uid, tunnel.name):
        return None
    return reservation.spec.verification
