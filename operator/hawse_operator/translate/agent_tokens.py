"""AgentToken → IR: who may connect. Its secret never goes there. Pure. Called by reconcile.agent_tokens."""

from hawse_api import v1alpha1
from hawse_api.ir import ir_pb2


def token_key(uid: str) -> str:
    """Key of an AgentToken in IR."""
    return f"token/{uid}"


def translate_agent_token(token: v1alpha1.AgentToken) -> ir_pb2.Object:
    """An AgentToken whose agents may hold sessions. An expired or used-up one too: expiry bounds enrolment only."""
    return ir_pb2.Object(
        key=token_key(token.uid), token=ir_pb2.AgentToken(uid=token.uid, namespace=token.namespace, name=token.name)
    )
