"""P7 end to end: killed after any effect of a first write or a correction, the next run ends with the same figures."""

import math
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from pipeline.config import load
from pipeline.demo.servers import PrometheusBinary, free_port, start_prometheus
from pipeline.run import run
from pipeline.sinks.sql import run_query
from pipeline.tables import values
from pipeline.window import HOUR, Window
from tests.clocks import FixedClock
from tests.e2e.conftest import CLUSTER, DAY, PublishedDay, job, write_config
from tests.product import DEFAULT_INSTALL

HOURS = Window(DAY + 9 * HOUR, DAY + 11 * HOUR)
ROWS = "select * exclude (run_id, intensity_updated_utc) from emissions order by all"
NODES = "select * exclude (run_id) from node_energy order by all"
LATEST = "select hour_utc, state, revision from hours where store is null order by all"


def _figures(warehouse: Path) -> dict[str, pa.Table]:
    return {query: run_query(warehouse, query) for query in (ROWS, NODES, LATEST)}


def _series(url: str) -> float:
    query = f'sum(sum without (revision) (sum_over_time(carbon_emissions_grams{{cluster="{CLUSTER}"}}[24h])))'
    at = (DAY + timedelta(days=1)).timestamp()
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query, "time": at}).raise_for_status()
    result = answer.json()["data"]["result"]
    return float(result[0]["value"][1]) if result else math.nan


def _killed_after(effects: int, config: Path, now: str) -> list[str]:
    """The effects that happened before the kill, or all of them when there were fewer."""
    command = [
        sys.executable,
        "-m",
        "tests.e2e.killed_run",
        str(config),
        now,
        HOURS.start.isoformat(),
        HOURS.end.isoformat(),
    ]
    env = os.environ | DEFAULT_INSTALL
    done = subprocess.run([*command, str(effects)], env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (-9, 0), done.stderr
    return done.stdout.split() if done.returncode == -9 else [*done.stdout.split(), "(ended)"]


def _disturbed(
    published_day: PublishedDay, binary: PrometheusBinary, folder: Path, effects: int
) -> tuple[list[str], dict[str, pa.Table], float]:
    """Figures after a run killed at that effect and an undisturbed run after it."""
    clock = FixedClock(published_day.now)
    with start_prometheus(binary, folder / "store", free_port(), clock, out_of_order="5y") as store:
        config = write_config(folder, published_day.prometheus.url, {"store": store.url})
        happened = _killed_after(effects, config, published_day.now.isoformat())
        report = run(job(load(config, {}), published_day.now), [CLUSTER], HOURS)
        assert report.exit_code == 0, report.summary()
        return happened, _figures(folder / "warehouse"), _series(store.url)


def _assert_equal(one: dict[str, pa.Table], other: dict[str, pa.Table]) -> None:
    for query, table in one.items():
        for name in table.column_names:
            mine, theirs = values(table, name), values(other[query], name)
            assert len(mine) == len(theirs), (query, name)
            for a, b in zip(mine, theirs, strict=True):
                assert a == (pytest.approx(b, rel=1e-9, abs=1e-12) if isinstance(b, float) else b), (query, name)


def test_a_run_killed_after_any_effect_is_completed_by_the_next(
    published_day: PublishedDay, prometheus_binary: PrometheusBinary, tmp_path: Path
) -> None:
    seen: list[list[str]] = []
    undisturbed = _disturbed(published_day, prometheus_binary, _folder(tmp_path, "calm"), 10_000)
    assert undisturbed[0][-1] == "(ended)"
    for effects in range(1, len(undisturbed[0])):
        happened, figures, series = _disturbed(
            published_day, prometheus_binary, _folder(tmp_path, str(effects)), effects
        )
        seen.append(happened)
        _assert_equal(figures, undisturbed[1])
        assert series == pytest.approx(undisturbed[2], rel=1e-9)
    assert len(seen) >= 8
    assert {"emissions.temporary", "emissions", "node_energy", "hours"} <= {happened[-1] for happened in seen}


def test_a_correction_killed_after_any_effect_is_completed_by_the_next(
    published_day: PublishedDay, tmp_path: Path
) -> None:
    """The grid's figures change between two backfills: revision 1, one revisions row a change, whatever was killed."""
    outcomes = []
    effects, ended = 1, False
    while not ended:
        folder = _folder(tmp_path, f"correction-{effects}")
        config = write_config(folder, published_day.prometheus.url, {})
        assert run(job(load(config, {}), published_day.now), [CLUSTER], HOURS).exit_code == 0
        grid = folder / "grid.csv"
        grid.write_text(grid.read_text().replace(",217.0", ",317.0"))  # 09:00 to 10:00
        later = published_day.now + timedelta(minutes=5)
        ended = _killed_after(effects, config, later.isoformat())[-1] == "(ended)"
        assert run(job(load(config, {}), later + timedelta(minutes=5)), [CLUSTER], HOURS).exit_code == 0
        changed = run_query(folder / "warehouse", "select * exclude (run_id, written_utc) from revisions order by all")
        outcomes.append((_figures(folder / "warehouse"), changed))
        effects += 1
    assert effects > 8
    for figures, changed in outcomes:
        _assert_equal(figures, outcomes[-1][0])
        _assert_equal({"revisions": changed}, {"revisions": outcomes[-1][1]})
    assert set(values(outcomes[-1][1], "cause")) == {"intensity"}
    assert {(row["hour_utc"].hour, row["revision"]) for row in outcomes[-1][0][LATEST].to_pylist()} == {(9, 1), (10, 0)}


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder
