"""The end-to-end benchmark on a small store: all ways run, the fold finds the simulated joules, goals are computed."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmarks.end_to_end import compare, spans
from benchmarks.end_to_end_report import (
    CURL,
    FAST,
    FOLD,
    INCREASE,
    LIBRARY,
    PRODUCT,
    QUERY,
    RULES,
    SCRIPT,
    Result,
    errors,
    goals,
    parts,
)
from benchmarks.end_to_end_ways import Bench, Span
from benchmarks.extraction_store import METRIC
from benchmarks.kepler_fleet import fleet, true_joules
from benchmarks.page import Goal, document
from benchmarks.stopwatch import Cost, cost, python
from tests.benchmarks.conftest import SIZE


@pytest.fixture(scope="module")
def span() -> Span:
    found = spans(SIZE.series, SIZE.hours)[0]
    return Span(
        found.title, found.selector, found.start_ms, found.hours, tuple(w for w in found.ways if "fast" not in w)
    )


@pytest.fixture(scope="module")
def results(bench: Bench, span: Span) -> dict[str, Result]:
    return compare(bench, span, 1)


def test_every_way_runs_and_costs_something(results: dict[str, Result]) -> None:
    assert {*results} == {FOLD, QUERY, PRODUCT, CURL, INCREASE, RULES, LIBRARY, SCRIPT}
    for way, one in results.items():
        assert one.seconds > 0, way
        assert one.cost.peak_mb > 30 or way in (CURL, INCREASE), way


def test_the_product_and_the_script_wrote_the_joules_that_the_fold_found(
    bench: Bench, span: Span, results: dict[str, Result]
) -> None:
    folded = pq.read_table(bench.rows).column("energy_joules").to_numpy().sum()
    emissions = pd.concat(pd.read_parquet(path) for path in bench.folder.glob("warehouse/emissions/*/*/*.parquet"))
    assert emissions.query("kind == 'workload'")["energy_joules"].sum() == pytest.approx(folded, rel=1e-9)
    assert emissions["emissions_gco2e"].notna().all()
    script = pd.read_parquet(bench.folder / "script")
    assert script["energy_joules"].sum() == pytest.approx(folded, rel=0.01)


def test_the_fold_finds_the_simulated_joules_nearer_than_increase_does(
    bench: Bench, span: Span, results: object
) -> None:
    nodes = [node for node in fleet(SIZE) if node.cluster == "c1"]
    text = errors(bench.rows, true_joules(nodes, SIZE), bench.server.url, span.window, METRIC + span.selector)
    ours, rival = ([cell.strip() for cell in line.split("|")[2:]] for line in text.splitlines()[-2:])
    assert float(ours[0]) < 1e-12, "the median of all pod-hours"
    assert float(rival[0]) > 1e-4
    assert abs(float(ours[5].rstrip("%"))) < 0.2, "of all joules together"


def test_the_page_has_a_line_for_each_way_by_the_folds_and_the_products_time(results: dict[str, Result]) -> None:
    lines = [line for line in "\n".join(parts({"1 h x 100": results})).splitlines() if line.startswith("| ")][1:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines if "---" not in line] == [*results]
    times = results[CURL].seconds / results[FOLD].seconds
    assert any(line.startswith(f"| {CURL} | {times:.2f} |") for line in lines)


def test_goals_are_the_issues_and_say_when_a_rival_was_scaled() -> None:
    def result(seconds: float, peak_mb: float = 1) -> Result:
        return Result(Cost(seconds, 1, peak_mb), 1)

    hour = {FOLD: result(2), FAST: result(1), CURL: result(1), LIBRARY: result(30), QUERY: result(3)}
    day = {PRODUCT: result(10), RULES: result(39), SCRIPT: result(400)}
    large = {FOLD: result(20, 351), FAST: result(10), CURL: result(10), INCREASE: result(25)}
    kept = goals({"1 h x 5": hour, "24 h x 5": day, "24 h x 20": large}, 20)
    measured = [goal.measured for goal in kept]
    assert measured == [15, 2, 144, 2, 0.8, 351, 30, 1, 288, 1, 0.4, 3.9, 40, 10]
    assert [goal.met for goal in kept] == [
        True, False, True, False, True, False, True, True, True, True, True, False, True, True
    ]  # fmt: skip
    assert "x 24" in kept[-2].note


def test_a_goal_that_is_missed_is_said_so_on_the_page() -> None:
    text = document(
        "T", "run", "versions", [Goal("faster", 4, 3.9), Goal("memory", 350, 350, at_most=True, unit="MB")], []
    )
    assert "| faster | at least 4 x | 3.9 x | **MISSED** |" in text
    assert "| memory | at most 350 MB | 350 MB | pass |" in text


def test_a_process_and_its_child_are_measured_together(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        "import subprocess, sys\n"
        "child = 'import time; held = bytearray(100 << 20); time.sleep(0.5)'\n"
        "subprocess.run([sys.executable, '-c', child], check=True)\n",
        encoding="utf-8",
    )
    found = cost([python("x")[0], str(script)])
    assert found.peak_mb > 100
    assert found.seconds > 0.5 > found.cpu_seconds
    with pytest.raises(SystemExit, match="ended with 3"):
        cost([python("x")[0], "-c", "raise SystemExit(3)"])
