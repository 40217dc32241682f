"""A pod of a fleet's exit nodes → IR: whom others may carry visitors to (backhaul). Pure. Called by reconcile.peers."""

from hawse_api import spiffe
from hawse_api.ir import ir_pb2


def peer_key(uid: str) -> str:
    """Key of a pod in IR."""
    return f"peer/{uid}"


def translate_peer(*, uid: str, pod: str, exit_node: str, region: str, address: str, domain: str) -> ir_pb2.Object:
    """The pod at `address` (of its agents' port), which proves itself under the trust domain of its fleet."""
    peer = ir_pb2.Peer(
        uid=uid,
        pod=pod,
        exit_node=exit_node,
        region=region,
        address=address,
        spiffe_id=str(spiffe.ExitNodeId(domain, exit_node, pod)),
    )
    return ir_pb2.Object(key=peer_key(uid), peer=peer)
