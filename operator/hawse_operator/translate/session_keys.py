"""Keys of visitors' sessions: one pair for each holder of each name, derived from one secret of the operator. Pure.

Whoever gets a name after somebody else has another generation of its reservation and so other keys: cookies of the
former holder's visitors mean nothing. Called by reconcile.tunnels.
"""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ROOT_BYTES = 32
_BYTES = 64
"""32 to sign session cookies, 32 to seal refresh cookies (exitnode/hawse_identity/sessions.py)."""


def material_id(tunnel_uid: str) -> str:
    """Material id of a Tunnel's session keys."""
    return f"session/{tunnel_uid}"


def derive(root: bytes, *, fleet_uid: str, reservation_uid: str, generation: int) -> bytes:
    """HKDF-SHA256 (RFC 5869). Uids hold no slash, so no two holders share an `info`."""
    info = f"hawse/session/{fleet_uid}/{reservation_uid}/{generation}".encode()
    return HKDF(algorithm=hashes.SHA256(), length=_BYTES, salt=None, info=info).derive(root)
