"""What every provider can do, and what it says afterwards.

A provider compares with the server each time and writes the difference; run twice it writes nothing. Errors are
errors.DnsError, with a message that names the server and what to change. Called by reconcile.dns.
"""

from dataclasses import dataclass
from typing import Protocol

from hawse_operator.dns.ownership import Owner
from hawse_operator.dns.records import Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    writes: int
    """Record sets that were written or removed; 0: all was as it should be."""
    foreign: tuple[str, ...] = ()
    """Names that somebody else's records hold."""
    ds_records: tuple[str, ...] = ()
    """For the parent zone; empty: not signed, or not known."""
    hints: tuple[str, ...] = ()
    """What a person may want to know though it works."""


class Provider(Protocol):
    """One way to DNS."""

    async def sync(self, plan: Plan, owner: Owner) -> Outcome:
        """Make the zone be as planned. Raises errors.DnsError."""

    async def withdraw(self, domain: str, owner: Owner) -> int:
        """Remove what is this owner's, and return how much that was. Raises errors.DnsError."""
