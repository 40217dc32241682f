"""The identity service of this exit node: its socket, and what it knows of tunnels. Shell.

The service itself is `hawse_identity`. It runs on this process's event loop, and the edge reaches it by the socket,
which lies in a directory that only this user may enter. Owned by `node`.
"""

import asyncio
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hawse_api.ir import ir_pb2
from hawse_exitnode import pages
from hawse_exitnode.holdings import Holdings
from hawse_identity.memory import Ended
from hawse_identity.provider_client import ProviderClient
from hawse_identity.server import Pages, serve
from hawse_identity.service import Service

logger = logging.getLogger(__name__)

REVOKED = "revoked"
"""Key of the list of sign-ins that are over."""
_MAX_PATH_BYTES = 100
"""Linux takes 107 bytes (unix(7))."""


class SigningIn:
    """One for the process."""

    def __init__(
        self, holdings: Holdings, *, state_dir: Path | None, on_ended: Callable[[Mapping[str, int]], None]
    ) -> None:
        """`state_dir`: where this process may write; None: the system's directory for temporary files.

        `on_ended` hears of sign-ins that ended at this node: marks and times, as in ir.Revoked.
        """
        self._holdings = holdings
        self._on_ended = on_ended
        self._directory = _private_directory(state_dir)
        self._ended = Ended()
        self.outcomes: Counter[str] = Counter()
        """What became of sign-ins here."""

    @property
    def socket(self) -> Path:
        """Where the edge finds it."""
        return self._directory / "identity.sock"

    def ended(self) -> Mapping[str, int]:
        """Sign-ins that are over: those that ended here, and those that the operator told."""
        held = self.find_object(REVOKED)
        return {**(held.revoked.ended if held else {}), **self._ended.until}

    async def run(self) -> None:
        """Serve until it is cancelled."""
        shown = Pages(pages.render_pages(), pages.render_signed_out())
        try:
            async with ProviderClient(self._allowed_cidrs) as client:
                service = Service(client, ended=self._ended, outcomes=self.outcomes, on_ended=self._on_ended)
                async with serve(self.socket, service, self, shown):
                    await asyncio.Event().wait()
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)

    # --- hawse_identity.sites.Configuration --------------------------------------------------------------------------
    def find_object(self, key: str) -> ir_pb2.Object | None:
        """What is in force under a key."""
        held = self._holdings.objects.get(key)
        return held.obj if held else None

    def find_material(self, id: str) -> bytes | None:  # noqa: A002 - the contract's word
        """Secret bytes."""
        material = self._holdings.materials.get(id)
        return material.data if material else None

    def _allowed_cidrs(self) -> Sequence[str]:
        fleet = self.find_object("fleet")
        return fleet.fleet.allowed_cidrs if fleet else ()


def ended_object(ended: Mapping[str, int]) -> ir_pb2.Object:
    """For the edge, which adds it to what it knows."""
    return ir_pb2.Object(key=REVOKED, revoked=ir_pb2.Revoked(ended=ended))


def _private_directory(state_dir: Path | None) -> Path:
    """A new directory of mode 0700; the path of a socket in it is short enough."""
    if state_dir is not None and len(os.fsencode(state_dir)) <= _MAX_PATH_BYTES - 40:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in state_dir.glob("identity-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix="identity-", dir=state_dir))
    return Path(tempfile.mkdtemp(prefix="hawse-identity-"))
