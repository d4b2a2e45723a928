"""A poisoned time series database: hostile names change names alone, hostile numbers their own node alone."""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.sinks.views import open_views
from tests.conftest import RealClock
from tests.faults.acts import NewPlace
from tests.faults.poisoned import POISONS, RENAMINGS, SICK_NODE, TARGETS, Renaming, Variants, renaming
from tests.faults.readers import TORN
from tests.faults.results import Point, some, tell
from tests.faults.scenes import HOURS, Outcome, Place, Scene, small_fleet
from tests.faults.victims import Victims

CHECKED = 65
CEILING_JOULES = 2 * 2000 * 3600  # two sockets of 2 kW for an hour
COLUMNS = {"node": "node", "namespace": "namespace", "pod": "pod", "workload": "owner"}

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def poisoned(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    data = tmp_path_factory.mktemp("poisoned") / "data"
    fill_blocks(Variants(small_fleet()), prometheus_binary.promtool, data)
    with start_prometheus(prometheus_binary, data, free_port(), clock) as server:
        yield server


@pytest.fixture(scope="module")
def backfilled(poisoned: RunningServer, place: NewPlace, forks: Victims) -> Callable[[str], tuple[Place, int, str]]:
    """Backfills a variant, once; where, with which exit code, and what was said."""
    done: dict[str, tuple[Place, int, str]] = {}

    def backfill(variant: str) -> tuple[Place, int, str]:
        if variant not in done:
            own = replace(place(f"poison-{variant}"), source=poisoned.url)
            scene = Scene("backfill", "backfill", HOURS, {"selector": f'{{variant="{variant}"}}'})
            ended = scene.play(own, forks, 10)
            done[variant] = own, ended.code, ended.said
        return done[variant]

    return backfill


def _said_well(code: int, said: str) -> None:
    assert code in (0, CHECKED), said
    assert "Traceback" not in said
    assert "unexpected" not in said


def _keyed(rows: pa.Table, renamed: Renaming | None = None) -> dict[str, list[float]]:
    """Numbers by everything else, names as they become."""
    found: dict[str, list[float]] = {}
    for row in rows.to_pylist():
        for column, role in COLUMNS.items():
            if renamed and row.get(column) is not None:
                row[column] = _become(renamed, role, row[column])
        numbers = {name: value for name, value in row.items() if isinstance(value, float)}
        rest = {name: value for name, value in row.items() if name not in numbers}
        assert str(rest) not in found
        found[str(rest)] = list(numbers.values())
    return found


def _become(renamed: Renaming, role: str, name: str) -> str:
    """What a name is now; a pod without an owner is its own workload."""
    known = {**renamed[role], **(renamed["pod"] if role == "owner" else {})}
    return known.get(name, name)


def _names_changed(samples: Any, renamed: Renaming) -> dict[str, float]:  # noqa: ANN401 # of `Outcome`
    found = {}
    for key, value in samples.items():
        text, _, stamp = key.rpartition(" ")
        labels = json.loads(text)
        for column, role in COLUMNS.items():
            if column in labels:
                labels[column] = _become(renamed, role, labels[column])
        found[f"{json.dumps(labels, sort_keys=True)} {stamp}"] = value
    return found


@pytest.mark.parametrize("number", range(RENAMINGS))
def test_hostile_names_change_names_and_nothing_else(
    number: int, backfilled: Callable[[str], tuple[Place, int, str]], record_property: Record
) -> None:
    clean, renamed = Outcome.of(backfilled("clean")[0]), renaming(small_fleet(), number)
    own, code, said = backfilled(f"renamed-{number}")
    _said_well(code, said)
    hostile = Outcome.of(own)
    for table in ("emissions", "node_energy"):
        expected, found = _keyed(clean.rows[table], renamed), _keyed(hostile.rows[table])
        assert expected.keys() == found.keys()
        for key, numbers in expected.items():
            assert found[key] == pytest.approx(numbers, rel=1e-9, abs=1e-12), key
    expected_samples = _names_changed(clean.samples, renamed)
    assert hostile.samples.keys() == expected_samples.keys()
    assert hostile.samples == pytest.approx(expected_samples, rel=1e-9, abs=1e-12)
    folders = {path.name for path in own.warehouse.rglob("*") if path.is_dir()}
    assert all(name.startswith(("cluster=", "date=", ".locks")) or name.isidentifier() for name in folders), folders
    texts = f"names {number + 1} of {RENAMINGS}"
    tell(record_property, Point("A poisoned database", "backfill", texts, passed=True))


def test_pods_without_a_name_are_still_counted(backfilled: Callable[[str], tuple[Place, int, str]]) -> None:
    clean, (own, code, said) = Outcome.of(backfilled("clean")[0]), backfilled("nameless")
    _said_well(code, said)
    nameless = Outcome.of(own).rows["node_energy"]
    assert _keyed(nameless).keys() == _keyed(clean.rows["node_energy"]).keys()
    for key, numbers in _keyed(clean.rows["node_energy"]).items():
        assert _keyed(nameless)[key] == pytest.approx(numbers, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("target", "poison"), some(list(itertools.product(TARGETS, POISONS))))
def test_hostile_numbers_stay_with_their_node_and_reach_no_figure(
    target: str, poison: str, backfilled: Callable[[str], tuple[Place, int, str]], record_property: Record
) -> None:
    clean, (own, code, said) = Outcome.of(backfilled("clean")[0]), backfilled(f"{target}-{poison}")
    _said_well(code, said)
    outcome = Outcome.of(own)
    for table in ("emissions", "node_energy"):
        rows = outcome.rows[table].to_pylist()
        numbers = [value for row in rows for value in row.values() if isinstance(value, float)]
        assert all(math.isfinite(value) for value in numbers), table
        healthy, expected = (
            _keyed(pa.Table.from_pylist([row for row in held if row["node"] != SICK_NODE]))
            for held in (rows, clean.rows[table].to_pylist())
        )
        assert healthy.keys() == expected.keys()
        for key, wanted in expected.items():
            assert healthy[key] == pytest.approx(wanted, rel=1e-9, abs=1e-12), key
        amount = "energy_joules" if table == "emissions" else "metered_joules"
        assert all(0 <= row[amount] <= CEILING_JOULES for row in rows)
    with open_views(own.warehouse, TORN) as connection:
        assert connection.sql(TORN).fetchone() == (0,)
    assert all(math.isfinite(value) and value >= 0 for value in outcome.samples.values())
    tell(record_property, Point("A poisoned database", "backfill", f"{poison} in {target}", passed=True))
