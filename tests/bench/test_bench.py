"""The harness itself: statistics on made-up samples, and one tiny round through the real product."""

import json
import random
from pathlib import Path

import pytest

from bench import loader, report, tools
from bench.__main__ import choose, measure
from bench.loader import LoaderError, Outcome, parse_h2load
from bench.products import ALL, Bench
from bench.statistics import Sample, build_rows, median_ratio, plan_round, rate_ratio
from bench.workloads import WORKLOADS
from hawse_agent.trial.processes import Trial

BY_NAME = {one.name: one for one in WORKLOADS}


def sample(product: str, number: int, *, rate: int = 100, cpu: float = 0.01, workload: str = "https-c32") -> Sample:
    outcome = Outcome(answered=rate, failed=0, megabytes=0.2, seconds=1.0, p50_ms=1.0, p99_ms=2.0)
    return Sample(workload, product, number, BY_NAME[workload].bulk, outcome, {"edge": cpu, "agent": cpu / 2})


def test_a_row_holds_medians_over_rounds() -> None:
    rows = build_rows([sample("hawse", 0, rate=100), sample("hawse", 1, rate=150), sample("hawse", 2, rate=300)])
    assert [(row["workload"], row["product"], row["rate"], row["spread"]) for row in rows] == [
        ("https-c32", "hawse", 150.0, 1.333)
    ]
    assert (rows[0]["network"], rows[0]["cpu_us"], rows[0]["cpu_us_edge"], rows[0]["cpu_us_agent"]) == (
        "clean", 100.0, 66.67, 33.33,
    )  # fmt: skip


def test_ratios_compare_products_of_the_same_round() -> None:
    samples = [sample("nginx", 0, cpu=0.01), sample("nginx", 1, cpu=0.04)]
    samples += [
        sample("hawse", 0, cpu=0.02, rate=50),
        sample("hawse", 1, cpu=0.08, rate=50),
        sample("hawse", 2, cpu=9.0),
    ]
    assert median_ratio(samples, "https-c32", "hawse", "nginx") == pytest.approx(4.0)
    assert rate_ratio(samples, "https-c32", "hawse", "nginx") == pytest.approx(0.5)
    assert median_ratio(samples, "https-c1", "hawse", "nginx") is None


def test_bulk_counts_megabytes() -> None:
    assert sample("hawse", 0, workload="bulk1", cpu=0.2).cpu_us() == pytest.approx(1.5e6)


def test_a_round_asks_each_product_what_it_offers_in_another_order_each_time() -> None:
    offered = {"hawse": ["https", "h2"], "direct": ["http"], "nginx": ["http", "https", "h2"]}
    planned = plan_round(WORKLOADS, offered, random.Random(1))
    assert {(w.name, p) for w, p, _ in planned if w.name == "http-c1"} == {("http-c1", "direct"), ("http-c1", "nginx")}
    assert {(p, s) for w, p, s in planned if w.name == "bulk8"} == {
        ("hawse", "https"),
        ("nginx", "https"),
        ("direct", "http"),
    }
    orders = {tuple(p for _, p, _ in plan_round(WORKLOADS[-1:], offered, random.Random(seed))) for seed in range(9)}
    assert len(orders) > 1


def test_h2load_is_understood_and_cut_answers_are_failures() -> None:
    said = (
        "requests: 3 total, 3 started, 3 done, 2 succeeded, 1 failed, 0 errored, 0 timeout\n"
        "status codes: 2 2xx, 0 3xx, 0 4xx, 1 5xx\n"
        "traffic: 1.00KB (1024) total, 20B (20) headers (space savings 90.00%), 400B ({data}) data\n"
    )
    log = "1\t200\t1000\n2\t200\t3000\n3\t503\t9000\n"
    whole = parse_h2load(said.format(data=400), log, 2.0, 200, 0)
    assert (whole.answered, whole.failed, whole.p50_ms) == (2, 2, 1.0)
    assert parse_h2load(said.format(data=399), log, 2.0, 200, 0).failed == 3
    assert parse_h2load(said.format(data=399), log, 2.0, 200, 1).failed == 2
    with pytest.raises(LoaderError):
        parse_h2load("something else", log, 2.0, 200, 0)


def test_a_goal_is_missed_when_a_request_failed() -> None:
    bad = Outcome(answered=1, failed=1, megabytes=0, seconds=1, p50_ms=0, p99_ms=0)
    findings = report.Findings([Sample("https-c1", "hawse", 0, False, bad)], 1, 1.0, "2026-01-01")
    targets = {str(target["goal"]): target["met"] for target in report.build_targets(findings)}
    assert targets["requests of hawse that failed"] is False
    assert targets["https-c32: CPU of the edge by nginx's"] is None


@pytest.mark.timeout(900)  # a cold machine builds the loader first
def test_a_round_through_the_real_product_fills_every_report(tmp_path: Path) -> None:
    workloads, _ = choose(["https-c32", "http-c1"])
    with Trial(tmp_path / "trial") as trial:
        bench = Bench(trial, tools.loader())
        bench.start(["hawse", "direct"])
        assert not bench.missing
        samples = measure(bench, workloads, 1, 0.5, random.Random(1))
        gone = loader.Endpoint("127.0.0.1", 9, "shop.example")
        refused = loader.run(bench.loader, BY_NAME["http-c1"], "http", gone, 0.1)
    assert [(one.workload, one.product, one.outcome.failed) for one in samples] == [
        ("http-c1", "direct", 0), ("https-c32", "hawse", 0),
    ]  # fmt: skip
    assert all(one.outcome.answered > 10 for one in samples)
    assert all(samples[1].cpu_us(part) > 0 for part in ("edge", "agent"))
    assert refused.answered == 0
    assert refused.failed > 0
    findings = report.Findings(samples, 1, 0.5, "2026-01-01")
    assert {row["product"] for row in json.loads(json.dumps(report.build_json(findings)))["rows"]} == {
        "hawse",
        "direct",
    }
    assert "| hawse |" in report.build_page(findings)
    assert all("</svg>" in plot for plot in report.build_plots(findings).values())


def test_every_product_is_known_to_the_starter() -> None:
    assert choose([]) == (list(WORKLOADS), list(ALL))
    with pytest.raises(SystemExit):
        choose(["nothing"])
