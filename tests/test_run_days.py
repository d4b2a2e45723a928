"""A day as a thing that travels: what it is told, what it tells, and that nothing is lost on the way."""

import os
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.checks import Findings, Remark
from pipeline.day import Day, DayOutcome, _seen, fresh_of
from pipeline.errors import SourceUnavailable
from pipeline.job import Job
from pipeline.plan import unfinished
from pipeline.prices import Fresh
from pipeline.report import ClusterOutcome
from pipeline.settings import Settings
from pipeline.sinks.warehouse import DayTables
from pipeline.tables import EMISSIONS, HOURS, INTENSITY, NODE_ENERGY, PUE, QUARANTINE
from pipeline.terminal import SystemEnvironment
from pipeline.transforms.energy import NOTHING
from pipeline.transforms.selection import SLOTS, SelectionRule, Vintages
from pipeline.window import HOUR, Window
from tests.clocks import FixedClock
from tests.sinks import rows

MIDNIGHT = datetime(2026, 11, 3, tzinfo=UTC)
WINDOW = Window(MIDNIGHT, MIDNIGHT + 24 * HOUR)
SOUND = {
    "node": "n1", "expected_ratio": 1.0, "coverage_ratio": 1.0, "cross_ratio": 1.0, "metered_joules": 150.0,
    "idle_joules": 50.0, "system_joules": 10.0, "workload_joules": 90.0, "check": None,
}  # fmt: skip
FAULTS: list[dict[str, Any]] = [
    {"check": "residual"},
    {"check": "implausible", "node": "n2"},
    {"coverage_ratio": 0.5},
    {"cross_ratio": 1.2},
    {"system_joules": 90.0},
]


def nodes(*faults: tuple[int, dict[str, Any]]) -> pa.Table:
    """Two sound node-hours in each hour of a day, and one with each fault in the hour that is given."""
    sound = [SOUND | {"hour_utc": hour, "node": node} for hour in WINDOW.hours() for node in ("n1", "n2")]
    wrong = [SOUND | fault | {"hour_utc": MIDNIGHT + index * HOUR} for index, fault in faults]
    return pa.Table.from_pylist([*sound, *wrong], NODE_ENERGY)


def test_findings_of_what_a_day_tells_are_the_findings_of_all_its_rows() -> None:
    faults = [(hour, fault) for fault in FAULTS for hour in (2, 2, 17)]
    priced = pa.Table.from_pylist(
        [rows.pod(MIDNIGHT, "web", 3.6e6), rows.pod(MIDNIGHT, "db", 1e6, emissions_gco2e=None, pue_ratio=None)],
        EMISSIONS,
    )
    energy = replace(
        NOTHING,
        unmetered=[(MIDNIGHT, "n9"), (MIDNIGHT + HOUR, "n9")],
        remarks=(Remark("scopes", "n1", 5.0, "a guest shows it"),),
    )
    for table in (nodes(*faults), nodes(), NODE_ENERGY.empty_table()):
        whole, told = Findings(), Findings()
        whole.add(table, priced, ["n9"], energy.faults, energy.remarks)
        seen = _seen(DayTables(priced, table, QUARANTINE.empty_table()), energy)
        DayOutcome(day(), ClusterOutcome("c", "direct"), pickle.loads(pickle.dumps(seen))).tell(told)  # noqa: S301 # our own
        assert told.checks() == whole.checks()
    assert _seen(DayTables(priced, nodes(), QUARANTINE.empty_table()), energy).nodes.num_rows == 0
    assert _seen(DayTables(priced, nodes(*faults), QUARANTINE.empty_table()), energy).nodes.num_rows == 2 * 2 + 15


def day(**told: Any) -> Day:  # noqa: ANN401 # any of its attributes
    return Day("c", (MIDNIGHT, MIDNIGHT + HOUR), 0, "run", **told)


def test_a_failed_day_travels_with_its_error_and_says_which_it_was() -> None:
    outcome = DayOutcome.failed(day(), SourceUnavailable("gone"))
    arrived: DayOutcome = pickle.loads(pickle.dumps(outcome))  # noqa: S301 # our own
    assert arrived.part.failures == ["2026-11-03: gone"]
    assert isinstance(arrived.error, SourceUnavailable)
    findings = Findings()
    arrived.tell(findings)
    assert findings.checks() == []


def test_days_added_up_in_time_order_are_the_whole_to_the_last_digit() -> None:
    random = np.random.default_rng(3)
    parts = [
        pa.Table.from_pylist(
            [
                rows.pod(MIDNIGHT + hour * HOUR, f"w{n}", float(joules))
                for n, joules in enumerate(random.uniform(0, 1e7, 40))
            ],
            EMISSIONS,
        )
        for hour in range(5)
    ]
    whole, total = ClusterOutcome("c", "lifecycle"), ClusterOutcome("c", "lifecycle")
    for number, table in enumerate(parts):
        part = ClusterOutcome("c", "lifecycle")
        residual = pa.Table.from_pylist([SOUND | {"residual_joules": float(number) or None}], NODE_ENERGY)
        for outcome in (whole, part):
            outcome.add_rows(table)
            outcome.add_nodes(residual)
            outcome.add_hours(["complete", "partial"], rewritten=1)
        part.failures.append(str(number))
        total.add(part)
    assert total.failures == list("01234")
    assert vars(total) | {"failures": []} == vars(whole)
    assert (total.hours_rewritten, total.hours_unchanged, total.states) == (5, 5, {"complete": 5, "partial": 5})
    assert total.residual_joules == 10.0


def test_resuming_leaves_out_what_is_done_under_this_configuration_and_nothing_else() -> None:
    now = MIDNIGHT + timedelta(hours=60)
    known = [(0, "complete", "a"), (1, "complete", "b"), (2, "failed", "a"), (3, "partial", "a"), (20, "partial", "a")]
    table = pa.Table.from_pylist(
        [{"hour_utc": MIDNIGHT + h * HOUR, "state": state, "config_digest": digest} for h, state, digest in known],
        HOURS,
    )
    hours = [MIDNIGHT + h * HOUR for h in (0, 1, 2, 3, 4, 20)]
    left = [(hour - MIDNIGHT) // HOUR for hour in unfinished(hours, table, "a", now)]
    assert left == [1, 2, 4, 20]  # another configuration, failed, never seen, partial and younger than 48 h


def vintage(hour: int, provider: str = "p", hours: int = 1, fetched: int = 0) -> dict[str, Any]:
    start = MIDNIGHT + hour * HOUR
    return {
        "zone": "XX", "start_utc": start, "end_utc": start + hours * HOUR, "carbon_intensity_g_per_kwh": 100.0 + hour,
        "provider": provider, "signal": "average", "factor_type": "lifecycle", "basis": "consumption",
        "quality": "measured", "fetched_utc": MIDNIGHT + timedelta(days=9, minutes=fetched),
    }  # fmt: skip


def test_what_a_dry_run_hands_a_day_prices_it_as_everything_would() -> None:
    """Also where an hour is carried from the evening before or the morning after."""
    known = [vintage(hour) for hour in range(-60, 90) if hour not in (0, 1, 2, 22, 23)]
    table = pa.Table.from_pylist([*known, vintage(-50, hours=100, provider="q", fetched=1)], INTENSITY)
    pues = [
        {"cluster": "c", "start_utc": MIDNIGHT + n * HOUR, "end_utc": MIDNIGHT + (n + 1) * HOUR, "pue_ratio": 1.2}
        for n in range(-60, 90)
    ]
    part = fresh_of(WINDOW, Fresh(table, pa.Table.from_pylist(pues, PUE)))
    assert part.vintages.num_rows == 3 + 19 + 3 + 1
    assert part.pues.num_rows == 24 + 6
    every, now = np.ones(SLOTS, dtype=bool), WINDOW.end + HOUR
    for providers in (("p",), ("p", "q"), ("q",)):
        rule = SelectionRule(providers, "lifecycle", "estimated")
        for hour in WINDOW.hours():
            mine, theirs = (Vintages(one).select(hour, every, rule, now) for one in (part.vintages, table))
            assert mine.quality == theirs.quality
            assert mine.slots_g_per_kwh.tolist() == pytest.approx(theirs.slots_g_per_kwh.tolist(), nan_ok=True)


def test_no_secret_travels_and_a_worker_reads_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    monkeypatch.chdir(tmp_path)
    cluster = {"name": "c", "prometheus_url": "http://127.0.0.1:9", "grid_zone": "DE", "pue": 1.2}
    given = Job(Settings.model_validate({"clusters": [cluster]}), SystemEnvironment(), FixedClock(MIDNIGHT))
    sent = pickle.dumps(given.elsewhere())
    assert b"hunter2" not in sent
    monkeypatch.setenv("TOKEN", "of the worker")
    arrived: Job = pickle.loads(sent)  # noqa: S301 # our own
    assert arrived.env["TOKEN"] == "of the worker"  # noqa: S105 # a made-up one
    assert ("NOPE" in arrived.env, len(arrived.env)) == (False, len(os.environ))
    assert arrived.settings.warehouse.path == str(tmp_path / "warehouse")
