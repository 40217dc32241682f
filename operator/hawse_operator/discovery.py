"""Asks an identity provider to describe itself. Shell: policies.providers judges what it says.

Called by reconcile.lookups for reconcile.providers.
"""

import json

from hawse_operator import fetching
from hawse_operator.policies import providers


async def discover(question: providers.Question) -> providers.Fetched:
    """Both documents; never raises, always ends. Cancel safe."""
    url, allowed = providers.discovery_url(question.issuer), question.allowed_cidrs
    plain = providers.is_loopback(question.issuer)
    configuration = await fetching.fetch(url, allowed, plain=plain)
    if configuration.problem:
        return providers.Fetched(problem=f"{url}: {configuration.problem}.")
    url = _jwks_uri(configuration.body)
    if not providers.is_address(url, question.issuer):
        return providers.Fetched(configuration.body)  # the judge says what is wrong with it
    keys = await fetching.fetch(url, allowed, plain=plain)
    if keys.problem:
        return providers.Fetched(problem=f"{url}: {keys.problem}.")
    return providers.Fetched(configuration.body, keys.body)


def _jwks_uri(document: bytes) -> str:
    try:
        said = json.loads(document)
    except ValueError:
        return ""
    return str(said.get("jwks_uri", "")) if isinstance(said, dict) else ""
