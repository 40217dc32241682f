"""Runs a load generator against an endpoint: our own for HTTP/1.1, h2load (nghttp2) for HTTP/2. Called by rounds."""

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.workloads import H2, HTTP, Workload

_GRACE_S = 60.0


class LoaderError(Exception):
    """A load generator did not run; the message has what it said."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where visitors of a product go."""

    address: str
    port: int
    host: str
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. Only answers with status 200 and the right length are counted as answered."""

    answered: int
    failed: int
    megabytes: float
    seconds: float
    p50_ms: float
    p99_ms: float
    why: str = ""
    """The first failure, in words."""


def run(binary: Path, workload: Workload, scheme: str, endpoint: Endpoint, seconds: float) -> Outcome:
    """Load the endpoint for so long.

    Raises:
        LoaderError: the generator failed as a whole.
    """
    if scheme == H2:
        return _h2load(workload, endpoint, seconds)
    argv = [str(binary), "load", f"{endpoint.address}:{endpoint.port}", endpoint.host, workload.path]
    argv += [str(workload.connections), str(seconds), str(workload.body_bytes), "new" if workload.new else "keep"]
    if scheme != HTTP:
        argv.append(str(endpoint.ca))
    made = json.loads(_call(argv, seconds))
    made["megabytes"] = made.pop("bytes") / 1e6
    return Outcome(**made)


def parse_h2load(report: str, log: str, seconds: float, body_bytes: int, under_way: int) -> Outcome:
    """Read h2load's report and its --log-file: start, status and microseconds of each request. Pure."""
    lines = [line.split("\t") for line in log.splitlines()]
    micros = sorted(int(line[2]) for line in lines if line[1] == "200")
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", report)
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", report)
    data = re.search(r"\((\d+)\) data$", report, re.MULTILINE)
    if counts is None or statuses is None or data is None:
        raise LoaderError(f"h2load said something unknown:\n{report[-2000:]}")
    good = int(statuses[1])
    bad = int(counts[2]) + sum(int(number) for number in statuses.groups()[1:])
    # It reports no length of each answer: the sum tells whether they were whole, but for those under way at the end.
    short = int(data[1]) < (good - under_way) * body_bytes
    return Outcome(
        answered=good,
        failed=bad + (1 if short else 0),
        megabytes=int(data[1]) / 1e6,
        seconds=seconds,
        p50_ms=_percentile(micros, 0.5),
        p99_ms=_percentile(micros, 0.99),
        why="answers were cut" if short else counts[0] if bad else "",
    )


def _h2load(workload: Workload, endpoint: Endpoint, seconds: float) -> Outcome:
    whole = max(1, round(seconds))  # it takes no fractions
    with tempfile.TemporaryDirectory(prefix="hawse-bench-") as directory:
        log = Path(directory) / "requests.tsv"
        argv = ["h2load", f"-c{workload.connections}", f"-m{workload.streams}", "-t1", "-D", str(whole)]
        argv += [f"--log-file={log}", f"--connect-to={endpoint.address}:{endpoint.port}"]
        argv += [f"https://{endpoint.host}:{endpoint.port}{workload.path}"]
        report = _call(argv, whole)
        under_way = workload.connections * workload.streams
        return parse_h2load(report, log.read_text(), whole, workload.body_bytes, under_way)


def _percentile(ordered: list[int], part: float) -> float:
    return ordered[int((len(ordered) - 1) * part)] / 1000 if ordered else 0.0


def _call(argv: list[str], seconds: float) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + _GRACE_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise LoaderError(f"{argv[0]} did not end") from exc
    if done.returncode:
        raise LoaderError(f"{' '.join(argv)}: {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout
