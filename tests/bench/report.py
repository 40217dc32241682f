"""What people read: docs/benchmarks.md and its plots; and build/bench/latest.json for programs. Called by __main__.

The text is made from the samples alone, so that no number in it was typed by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench import svg
from bench.statistics import Sample, build_rows, median_ratio, rate_ratio
from bench.workloads import WORKLOADS, Workload

_BASE = "nginx"
_PART = "edge"
MET = {True: "met", False: "**missed**", None: "not judged"}


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was measured."""

    samples: Sequence[Sample]
    rounds: int
    seconds: float
    date: str
    versions: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    memory: Mapping[str, float] = field(default_factory=dict)


def build_json(findings: Findings) -> dict[str, object]:
    """Content of build/bench/latest.json."""
    return {
        "rows": build_rows(findings.samples),
        "targets": build_targets(findings),
        "memory": dict(findings.memory),
        "missing": dict(findings.missing),
        "rounds": findings.rounds,
        "seconds": findings.seconds,
        "date": findings.date,
        "versions": dict(findings.versions),
    }


def build_targets(findings: Findings) -> list[dict[str, object]]:
    """The goals that this project set itself, each with what was measured; `met` None: could not be judged."""
    samples = findings.samples
    found: list[dict[str, object]] = []

    def judge(goal: str, value: float | None, limit: float) -> None:
        met = None if value is None else value <= limit
        found.append({"goal": goal, "value": None if value is None else round(value, 3), "limit": limit, "met": met})

    judge("https-c32: CPU of the edge by nginx's", median_ratio(samples, "https-c32", "hawse", _BASE, _PART), 1.4)
    judge("https-c32: CPU of edge and agent by nginx's", median_ratio(samples, "https-c32", "hawse", _BASE), 2.0)
    for workload in (one.name for one in WORKLOADS if not one.bulk):
        for peer in ("nginx+frp-tcp", "nginx+rathole-noise"):
            ratio = median_ratio(samples, workload, "hawse", peer)
            if ratio is not None:
                judge(f"{workload}: CPU by that of {peer}", ratio, 1.0)
    failed = [sample.outcome.failed for sample in samples if sample.product == "hawse"]
    judge("requests of hawse that failed", float(sum(failed)) if failed else None, 0.0)
    judge("kB of an exit node's memory for an idle tunnel", findings.memory.get("kb_per_tunnel"), 40.0)
    return found


def build_plots(findings: Findings) -> dict[str, str]:
    """SVG files by name."""
    rows = build_rows(findings.samples)
    products = list(dict.fromkeys(str(row["product"]) for row in rows))
    made = {}
    for name, key, title, unit in (
        ("cpu", "cpu_us", "CPU per request", "µs, less is better"),
        ("rate", "rate", "Rate", "requests a second"),
    ):
        groups: dict[str, dict[str, float]] = {}
        for row in rows:
            value = row[key]
            if isinstance(value, float) and value and not str(row["workload"]).startswith("bulk"):
                groups.setdefault(str(row["workload"]), {})[str(row["product"])] = value
        made[f"{name}.svg"] = svg.bars(title, unit, groups, products)
    return made


def build_page(findings: Findings) -> str:
    """The whole of docs/benchmarks.md."""
    parts = [
        _METHOD.format(
            rounds=findings.rounds, seconds=f"{findings.seconds:g}", date=findings.date, versions=_versions(findings)
        )
    ]
    if findings.missing:
        parts.append("Missing here: " + "; ".join(f"{name} ({why})" for name, why in findings.missing.items()) + ".\n")
    parts.append(_targets(build_targets(findings)))
    parts.append("## CPU\n\n![CPU per request](benchmarks/cpu.svg)\n\n## Rates\n\n![Rates](benchmarks/rate.svg)\n")
    rows = {(str(row["workload"]), str(row["product"])): row for row in build_rows(findings.samples)}
    parts += [
        _table(workload, rows, findings.samples) for workload in WORKLOADS if any(w == workload.name for w, _ in rows)
    ]
    if findings.memory:
        parts.append(_memory(findings.memory))
    return "\n".join(parts)


def _table(workload: Workload, rows: Mapping[tuple[str, str], Mapping[str, object]], samples: Sequence[Sample]) -> str:
    work = "MB" if workload.bulk else "request"
    lines = [
        f"### {workload.name}\n",
        f"| product | {work}s a second | by nginx's | p50 ms | p99 ms | CPU µs per {work} | by nginx's "
        "| edge + server + agent | spread | failed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    mine = [(product, row) for (name, product), row in rows.items() if name == workload.name]
    for product, row in sorted(mine, key=lambda pair: float(str(pair[1]["cpu_us"]))):
        cells = [product, f"{float(str(row['rate'])):,.0f}", _times(rate_ratio(samples, workload.name, product, _BASE))]
        cells += [str(row["p50_ms"]), str(row["p99_ms"])]
        cells += [
            str(row["cpu_us"]) if row["cpu_us"] else "-",
            _times(median_ratio(samples, workload.name, product, _BASE) if row["cpu_us"] else None),
        ]
        cells += [" + ".join(str(row.get(f"cpu_us_{part}", "-")) for part in ("edge", "server", "agent"))]
        cells += [f"{float(str(row['spread'])):.0%}", str(row["failed"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _targets(targets: Sequence[Mapping[str, object]]) -> str:
    lines = ["## Goals\n", "| goal | measured | limit | |", "|---|---|---|---|"]
    for target in targets:
        met = target["met"]
        said = MET[met if isinstance(met, bool) else None]
        lines.append(
            f"| {target['goal']} | {'-' if target['value'] is None else target['value']} | {target['limit']} | {said} |"
        )
    return "\n".join(lines) + "\n"


def _memory(memory: Mapping[str, float]) -> str:
    return (
        "## Memory\n\n"
        f"{memory['tunnels']:.0f} tunnels, each with an AgentToken, a certificate and an idle agent of its own: when "
        f"they came an exit node grew from {memory['before_kb'] / 1024:.1f} to {memory['after_kb'] / 1024:.1f} MiB, "
        f"{memory['kb_per_tunnel']:.1f} kB a tunnel (Rust and Python together).\n"
    )


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _versions(findings: Findings) -> str:
    return ", ".join(f"{name} {version}" for name, version in findings.versions.items())


_METHOD = """<!-- Written by `make bench`; change tests/bench/report.py instead. -->
# Benchmarks

What a request costs through Hawse and through what people use today, measured side by side by `make bench`
({date}; {versions}).

**How.** Two shared cores, everything on loopback: load generator, products and app. Products take turns within a round
in random order; {rounds} rounds of {seconds} s each, all figures are medians over rounds. Ratios are medians of the
ratios within a round. An answer counts only with status 200 and the right length. **CPU per request is the figure to
trust**: user and system time of all processes of the product, without load generator and app. Rates drift, since
everything shares the two cores; what is within the spread (largest minus smallest rate, by the median) is a tie.

**What.** `c1`, `c32`, `c256`: that many connections that stay, one request at a time on each, 200 bytes of answer.
`new`: 32 visitors, a connection for each request; over TLS a whole handshake, never resumed. `h2`: 8 connections with
32 requests at once. `bulk`: 16 MiB answers, counted in MB.

**Products.** `hawse`: visitor's TLS at the edge, QUIC to the agent, HTTP to the app, all limits on, two processes.
`nginx`: one hop, two workers, connections to the app kept. `nginx+frp-tcp`, `nginx+rathole-noise`: nginx in front of an
encrypted tunnel. `frp-tcp`: that tunnel alone, TLS inside; `rathole`: **unencrypted**. `direct`: the app itself. Exit
nodes speak only TLS to visitors, so `hawse` is not in the `http` rows; tunnels without nginx, and `direct`, have no TLS
for visitors, so they are not in the `https` rows, and their `bulk` is without it.
"""
