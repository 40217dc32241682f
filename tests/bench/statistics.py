"""From samples to rows: medians over rounds. Pure; called by rounds and report, tested in test_bench.py."""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.loader import Outcome
from bench.workloads import Workload


@dataclass(frozen=True, slots=True)
class Sample:
    """One product, one workload, one round."""

    workload: str
    product: str
    round: int
    bulk: bool
    outcome: Outcome
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    """By part: "edge", "server", "agent"."""

    @property
    def work(self) -> float:
        """What rate and CPU are counted in: requests, or MB of bulk."""
        return self.outcome.megabytes if self.bulk else float(self.outcome.answered)

    @property
    def rate(self) -> float:
        """Work a second."""
        return self.work / self.outcome.seconds if self.outcome.seconds else 0.0

    def cpu_us(self, *parts: str) -> float:
        """CPU microseconds of these parts (none: all) for one unit of work."""
        used = sum(seconds for part, seconds in self.cpu_s.items() if not parts or part in parts)
        return used / self.work * 1e6 if self.work else 0.0


def plan_round(
    workloads: Sequence[Workload], products: Mapping[str, Sequence[str]], chance: random.Random
) -> list[tuple[Workload, str, str]]:
    """(workload, product, scheme) of one round: workload after workload, products shuffled within each."""
    planned: list[tuple[Workload, str, str]] = []
    for workload in workloads:
        able = [
            (workload, product, next(scheme for scheme in workload.schemes if scheme in offered))
            for product, offered in products.items()
            if set(offered) & set(workload.schemes)
        ]
        chance.shuffle(able)
        planned += able
    return planned


def build_rows(samples: Sequence[Sample]) -> list[dict[str, object]]:
    """Medians over rounds for each workload and product, in the order in which they came first."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.workload, sample.product), []).append(sample)
    return [_row(workload, product, group) for (workload, product), group in groups.items()]


def median_ratio(samples: Sequence[Sample], workload: str, product: str, base: str, *parts: str) -> float | None:
    """Median over rounds of product's CPU per unit of work by base's in the same round; None without common rounds."""

    def by_round(name: str, *of: str) -> dict[int, float]:
        return {s.round: s.cpu_us(*of) for s in samples if (s.workload, s.product) == (workload, name)}

    ours, theirs = by_round(product, *parts), by_round(base)
    pairs = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
    return statistics.median(pairs) if pairs else None


def rate_ratio(samples: Sequence[Sample], workload: str, product: str, base: str) -> float | None:
    """The same for rates."""

    def by_round(name: str) -> dict[int, float]:
        return {s.round: s.rate for s in samples if (s.workload, s.product) == (workload, name)}

    ours, theirs = by_round(product), by_round(base)
    pairs = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
    return statistics.median(pairs) if pairs else None


def _row(workload: str, product: str, group: Sequence[Sample]) -> dict[str, object]:
    rates = [sample.rate for sample in group]
    middle = statistics.median(rates)
    row: dict[str, object] = {
        "workload": workload,
        "network": "clean",
        "product": product,
        "rate": round(middle, 1),
        "p50_ms": round(statistics.median(sample.outcome.p50_ms for sample in group), 3),
        "p99_ms": round(statistics.median(sample.outcome.p99_ms for sample in group), 3),
        "cpu_us": round(statistics.median(sample.cpu_us() for sample in group), 2),
        "spread": round((max(rates) - min(rates)) / middle, 3) if middle else 0.0,
        "failed": sum(sample.outcome.failed for sample in group),
        "answered": sum(sample.outcome.answered for sample in group),
        "rounds": len(group),
    }
    for part in sorted({part for sample in group for part in sample.cpu_s}):
        row[f"cpu_us_{part}"] = round(statistics.median(sample.cpu_us(part) for sample in group), 2)
    why = next((sample.outcome.why for sample in group if sample.outcome.why), "")
    return row | ({"why": why} if why else {})
