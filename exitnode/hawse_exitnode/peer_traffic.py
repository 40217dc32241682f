"""Counts of what was carried over links with peers, by region, that never fall though links come and go. Pure.

The core counts by link, and forgets a link with its end: what it carried since the last look is not counted then. Used
for metrics.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from hawse_api.ir import core_pb2


@dataclass(frozen=True, slots=True)
class Carried:
    """Of one region."""

    streams: int = 0
    bytes_in: int = 0
    """From us to the peers' agents."""
    bytes_out: int = 0

    def __add__(self, other: "Carried") -> "Carried":
        return Carried(self.streams + other.streams, self.bytes_in + other.bytes_in, self.bytes_out + other.bytes_out)


ByRegion: TypeAlias = Mapping[str, Carried]


@dataclass(slots=True)
class PeerTraffic:
    """Looks at the core's counts from time to time."""

    _living: dict[int, tuple[str, Carried]] = field(default_factory=dict)
    _ended: dict[str, Carried] = field(default_factory=dict)

    def look(self, links: Iterable[core_pb2.LinkStats], regions: Mapping[int, str]) -> ByRegion:
        """All that was carried until now; `regions`: of each link that we dialled to a peer."""
        now = {
            one.link: (regions[one.link], Carried(one.streams_total, one.bytes_in, one.bytes_out))
            for one in links
            if one.link in regions
        }
        for link, (region, carried) in self._living.items():
            if link not in now:
                self._ended[region] = self._ended.get(region, Carried()) + carried
        self._living = now
        found = dict(self._ended)
        for region, carried in now.values():
            found[region] = found.get(region, Carried()) + carried
        return found
