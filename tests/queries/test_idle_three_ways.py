"""`idle_three_ways` sums in numbers of its own what the views of idle sharing show by rows: the same, to rounding."""

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.sinks.closings import NAMESPACE
from pipeline.sinks.sql import run_query, shipped_queries
from pipeline.sinks.warehouse import RunStamp, Warehouse
from tests.queries.months import UNPRICED, metered
from tests.sinks import rows
from tests.sinks.rows import HOURS

WAYS = ("separate", "by_energy", "even")
DAYS, HOURS_OF_DAY = 3, 4
# Owners of one name in two namespaces, of two pods, of no controller, and of no name at all.
OWNERS: tuple[dict[str, object], ...] = (
    {"workload": "web", "pod": "web-0", "pod_uid": "0"},
    {"workload": "web", "pod": "web-1", "pod_uid": "1"},
    {"workload": "db", "workload_kind": "StatefulSet", "pod": "db-0", "pod_uid": "2"},
    {"workload": "web", "namespace": "ml", "pod": "web-0", "pod_uid": "3"},
    {"workload": "train", "namespace": "ml", "workload_kind": "Job", "pod": "train-x", "pod_uid": "4"},
    {"workload": None, "workload_kind": None, "namespace": "ml", "pod": "alone", "pod_uid": "5"},
    dict.fromkeys(("namespace", "pod", "pod_uid", "workload_kind", "workload", "owner_source")),
)


def filled(root: Path) -> None:
    """Rows of chance: in each hour, node and component some owners or none, used, unused and unpriced; some idle."""
    numbers = random.Random(7)  # noqa: S311 # no secret
    for day in range(DAYS):
        hours = [hour + timedelta(days=day) for hour in HOURS[:HOURS_OF_DAY]]
        found = []
        for hour in hours:
            for node, component in (("n1", "package"), ("n1", "gpu"), ("n2", "package")):
                place = {"node": node, "component": component, "carbon_intensity_g_per_kwh": numbers.uniform(50, 500)}
                for owner in numbers.sample(OWNERS, numbers.randrange(len(OWNERS))):
                    joules = numbers.choice((0.0, numbers.uniform(1, 9e6)))
                    found.append(rows.pod(hour, "", joules, **place | owner | numbers.choice(({}, {}, UNPRICED))))
                if numbers.random() < 0.9:
                    idle = place | numbers.choice(({}, {}, {}, UNPRICED))
                    found.append(rows.emission(hour, "idle", numbers.uniform(0, 5e6), **idle))
                found.append(rows.emission(hour, "system", numbers.uniform(0, 1e6), **place))
        stamp = RunStamp("run-1", hours[0] + timedelta(days=1), "digest-1")
        rows.commit(Warehouse(root), rows.complete(hours), rows.tables(found, metered(found)), stamp)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("idle")
    filled(root)
    return root


def sums(root: Path, way: str, start: str, end: str) -> dict[str, tuple[float, float | None]]:
    """Namespace to kWh and grams, null where none is known, of the rows that a view shows."""
    found = run_query(
        root,
        f"""with told as (select * replace ({NAMESPACE}) from emissions_idle_{way})
            select namespace, sum(energy_joules) / 3.6e6 as kwh, sum(emissions_gco2e) as gco2e
            from told where date >= '{start}' and date < '{end}' group by all""",
    )
    return {row["namespace"]: (row["kwh"], row["gco2e"]) for row in found.to_pylist()}


@pytest.mark.parametrize(("start", "end"), [("2026-11-01", "2026-11-04"), ("2026-11-02", "2026-11-03")])
def test_the_query_gives_what_the_views_add_up_to(root: Path, start: str, end: str) -> None:
    text = shipped_queries()["idle_three_ways"]
    told: list[dict[str, Any]] = run_query(root, text, {"start": start, "end": end}).to_pylist()
    assert {row["namespace"] for row in told} == {"shop", "ml", "(unknown)", "(idle)", "(system)"}
    shown = {way: sums(root, way, start, end) for way in WAYS}
    for way in WAYS:
        for row in told:
            kwh, gco2e = shown[way].get(row["namespace"], (0, None))
            assert row[f"{way}_kwh"] == pytest.approx(kwh, rel=1e-12), (way, row["namespace"])
            assert row[f"{way}_gco2e"] == (None if gco2e is None else pytest.approx(gco2e, rel=1e-12))
        assert shown[way].keys() <= {row["namespace"] for row in told}
    for name in ("shop", "ml"):
        assert len({round(shown[way][name][0], 6) for way in WAYS}) == len(WAYS), "shared three ways alike"
    assert shown["separate"]["(idle)"] > shown["even"]["(idle)"], "nothing is shared"
