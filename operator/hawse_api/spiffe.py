"""SPIFFE URIs of certificates: who an exit node or an agent is. Pure; written once for both ends.

Does not read certificates (control/ca.py and hawse_exitnode/keys.py do) and decides no permission: that is in the IR.
Strict: a URI that is not exactly of one of the two forms is nobody's.
"""

import re
import sys
from dataclasses import dataclass

_DOMAIN = r"(?P<domain>[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)"
_SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}"
_EXIT_NODE = re.compile(rf"spiffe://{_DOMAIN}/exitnode/(?P<name>{_SEGMENT})/(?P<pod>{_SEGMENT})")
_AGENT = re.compile(
    rf"spiffe://{_DOMAIN}/ns/(?P<namespace>{_SEGMENT})/agenttoken/(?P<token_uid>{_SEGMENT})/agent/(?P<agent_id>{_SEGMENT})"
)
AGENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What an agent may call itself."""


@dataclass(frozen=True, slots=True)
class ExitNodeId:
    """An exit node process: one pod of an ExitNode."""

    domain: str
    name: str
    pod: str

    def __str__(self) -> str:
        return f"spiffe://{self.domain}/exitnode/{self.name}/{self.pod}"


@dataclass(frozen=True, slots=True)
class AgentId:
    """An agent that enrolled with a token. Two tokens' agents of the same id are strangers."""

    domain: str
    namespace: str
    token_uid: str
    agent_id: str

    def __str__(self) -> str:
        return f"spiffe://{self.domain}/ns/{self.namespace}/agenttoken/{self.token_uid}/agent/{self.agent_id}"


def parse_exit_node(uri: str) -> ExitNodeId | None:
    """The exit node of a URI; None for anything else."""
    match = _EXIT_NODE.fullmatch(uri)
    return None if match is None else ExitNodeId(match["domain"], match["name"], match["pod"])


def parse_agent(uri: str) -> AgentId | None:
    """The agent of a URI; None for anything else."""
    match = _AGENT.fullmatch(uri)
    if match is None:
        return None
    domain, namespace, token_uid = (sys.intern(match[part]) for part in ("domain", "namespace", "token_uid"))
    return AgentId(domain, namespace, token_uid, match["agent_id"])  # thousands of agents share the others
