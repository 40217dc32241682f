"""`make bench`: measures, then writes build/bench/latest.json and docs/benchmarks.md.

Environment: BENCH_ROUNDS (3), BENCH_SECONDS (2), BENCH_ONLY (names of workloads and products, by comma;
with it the docs stay as they are), BENCH_TUNNELS (1000; 0: no memory).
"""

import datetime as dt
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import cpu, loader, memory, report, tools
from bench.products import ALL, Bench, Product, use_core
from bench.statistics import Sample, plan_round
from bench.workloads import H2, WORKLOADS, Workload
from hawse_agent.trial.processes import Trial, TrialError

_PAUSE_S = 0.15


def main() -> int:
    """Entry point; 0 unless something failed to run at all."""
    rounds, seconds = int(os.environ.get("BENCH_ROUNDS", "3")), float(os.environ.get("BENCH_SECONDS", "2"))
    only = [word for word in os.environ.get("BENCH_ONLY", "").split(",") if word]
    workloads, products = choose(only)
    say("building the loader and the core (release profile)")
    binary = tools.loader()
    use_core(tools.release_overlay())
    with tempfile.TemporaryDirectory(prefix="hawse-bench-") as directory, Trial(Path(directory) / "trial") as trial:
        bench = Bench(trial, binary)
        bench.start(products)
        workloads = without_missing(bench, workloads)
        for name, why in bench.missing.items():
            say(f"missing: {name}: {why}")
        samples = measure(bench, workloads, rounds, seconds, random.Random(rounds))
    tunnels = int(os.environ.get("BENCH_TUNNELS", "0" if only else "1000"))
    found = {}
    if tunnels:
        say(f"memory of {tunnels} idle tunnels")
        with tempfile.TemporaryDirectory(prefix="hawse-bench-") as directory:
            try:
                found = memory.measure(Path(directory) / "trial", tunnels)
            except TrialError as exc:  # the rates were measured: they are worth a report
                say(f"no figure for memory: {exc}")
    today = dt.datetime.now(dt.UTC).date().isoformat()
    findings = report.Findings(samples, rounds, seconds, today, versions(), bench.missing, found)
    write(findings, docs=not only)
    return 0


def choose(only: list[str]) -> tuple[list[Workload], list[str]]:
    """What BENCH_ONLY leaves: it may name workloads, products or both."""
    workloads = [one for one in WORKLOADS if one.name in only] or list(WORKLOADS)
    products = [name for name in ALL if name in only] or list(ALL)
    unknown = set(only) - {one.name for one in WORKLOADS} - set(ALL)
    if unknown:
        raise SystemExit(f"BENCH_ONLY: no workload or product is called {', '.join(sorted(unknown))}")
    return workloads, products


def without_missing(bench: Bench, workloads: list[Workload]) -> list[Workload]:
    """HTTP/2 needs a load generator that this machine may not have."""
    if not any(H2 in one.schemes for one in workloads):
        return workloads
    try:
        tools.h2load()
    except tools.MissingError as exc:
        bench.missing["h2load"] = str(exc)
        return [one for one in workloads if H2 not in one.schemes]
    return workloads


def measure(
    bench: Bench, workloads: list[Workload], rounds: int, seconds: float, chance: random.Random
) -> list[Sample]:
    """All rounds; a line for each sample."""
    samples = []
    for number in range(rounds):
        offered = {name: list(product.endpoints) for name, product in bench.products.items()}
        for workload, name, scheme in plan_round(workloads, offered, chance):
            sample = measure_once(bench, workload, bench.products[name], scheme, seconds, number)
            samples.append(sample)
            say(
                f"{number + 1}/{rounds} {workload.name:10} {name:20} {sample.rate:10,.0f}/s  "
                f"{sample.cpu_us():8.1f} us {' '.join(f'{part} {sample.cpu_us(part):.1f}' for part in sample.cpu_s)}"
                + (f"  FAILED {sample.outcome.failed}: {sample.outcome.why}" if sample.outcome.failed else "")
            )
    return samples


def measure_once(
    bench: Bench, workload: Workload, product: Product, scheme: str, seconds: float, number: int
) -> Sample:
    """One cell of one round."""
    before = cpu.by_part(product.parts)
    try:
        outcome = loader.run(bench.loader, workload, scheme, product.endpoints[scheme], seconds)
    except loader.LoaderError as exc:  # the other rows are worth having all the same
        outcome = loader.Outcome(0, 1, 0.0, seconds, 0.0, 0.0, why=str(exc))
    time.sleep(_PAUSE_S)  # what the products still do for it belongs to it
    after = cpu.by_part(product.parts)
    used = {part: after[part] - before[part] for part in after}
    return Sample(workload.name, product.name, number, workload.bulk, outcome, used)


def versions() -> dict[str, str]:
    """Of what was measured, as far as it is here."""
    found = {"frp": tools.FRP, "rathole": tools.RATHOLE}
    try:
        said = subprocess.run(
            [str(tools.nginx()), "-v"], capture_output=True, text=True, timeout=10, check=False
        ).stderr
        found["nginx"] = said.rsplit("/", 1)[-1].strip()
        kernel = os.uname()
    except tools.MissingError:
        return found
    return found | {"Linux": kernel.release.split("-")[0]}


def write(findings: report.Findings, *, docs: bool) -> None:
    """The JSON always; the docs only after a whole run."""
    folder = tools.ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(report.build_json(findings), indent=1) + "\n")
    page = report.build_page(findings)
    (folder / "benchmarks.md").write_text(page)
    if docs:
        plots = tools.ROOT / "docs" / "benchmarks"
        plots.mkdir(exist_ok=True)
        (plots.parent / "benchmarks.md").write_text(page)
        for name, text in report.build_plots(findings).items():
            (plots / name).write_text(text)
    for target in report.build_targets(findings):
        said = report.MET[target["met"] if isinstance(target["met"], bool) else None]
        say(f"{said:12} {target['goal']}: {target['value']} (limit {target['limit']})")


def say(text: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(f"bench: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
