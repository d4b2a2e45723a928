"""A cluster whose samples lie in several servers: its settings, its site, and what its figures must be."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.openmetrics import HasBlocks
from pipeline.demo.servers import RunningServer
from pipeline.settings import Settings
from pipeline.site import Site, open_site
from pipeline.transforms.energy import Energy
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE
from pipeline.window import HOUR, Clock, Window
from tests.transforms.made import joined

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
HOURS = 3
SLOW_MS = -2_000
DOWN_MS = (MS_PER_HOUR + 20 * MS_PER_MINUTE, MS_PER_HOUR + 50 * MS_PER_MINUTE)  # of the first replica, in hour 2
KEYS = ("hour_utc", "node", "component")

Serve = Callable[[HasBlocks], RunningServer]


def entry(url: str, replica_of: str | None = None, **more: object) -> dict[str, object]:
    return {"url": url, "replica_of": replica_of} | more


def settings(folder: Path, endpoints: Sequence[dict[str, object]], **cluster: object) -> Settings:
    given = {"name": "demo", "prometheus": list(endpoints), "grid_zone": "DE", "pue": 1.2} | cluster
    http = {"timeout_seconds": 60, "retry_seconds": 0}
    return Settings.model_validate({"warehouse": {"path": str(folder)}, "clusters": [given], "http": http})


def site_of(folder: Path, endpoints: Sequence[dict[str, object]], clock: Clock, **cluster: object) -> Site:
    return open_site("demo", settings(folder, endpoints, **cluster), {}, clock)


def folded(site: Site, hours: int = HOURS) -> Energy:
    return joined([site.fold(Window.of_hour(START + HOUR * hour)) for hour in range(hours)])


def assert_conserved(energy: Energy) -> None:
    """P1."""
    used: dict[tuple[object, ...], list[float]] = {}
    for row in energy.rows.to_pylist():
        used.setdefault(tuple(row[key] for key in KEYS), []).append(row["energy_joules"])
        if row["step_joules"]:
            assert math.fsum(row["step_joules"]) == pytest.approx(row["energy_joules"], rel=1e-9)
        assert row["energy_joules"] >= 0
    assert energy.nodes.num_rows > 0
    for row in energy.nodes.to_pylist():
        total = math.fsum(used[tuple(row[key] for key in KEYS)]) + (row["residual_joules"] or 0.0)
        assert total == pytest.approx(row["metered_joules"], rel=1e-9)
        workloads = row["workload_joules"] + row["system_joules"] + row["idle_joules"] + (row["residual_joules"] or 0)
        assert workloads == pytest.approx(row["metered_joules"], rel=1e-9)


def node_errors(fleet: Fleet, energy: Energy) -> dict[tuple[object, ...], float]:
    truth = {tuple(r[k] for k in KEYS): r["active_joules"] + r["idle_joules"] for r in fleet.truth_nodes.to_pylist()}
    return {
        key: r["metered_joules"] / truth[key] - 1
        for r in energy.nodes.to_pylist()
        if (key := tuple(r[k] for k in KEYS))
    }


def pod_error(fleet: Fleet, energy: Energy, hours: Sequence[datetime]) -> float:
    """All that pod-hours are wrong by, of all that they used."""
    keys = (*KEYS, "pod_uid")
    got = {tuple(r[k] for k in keys): r["energy_joules"] for r in energy.rows.to_pylist() if r["kind"] == "workload"}
    truth = {
        tuple(r[k] for k in keys): r["energy_joules"] for r in fleet.truth_pods.to_pylist() if r["hour_utc"] in hours
    }
    return math.fsum(abs(got.get(key, 0.0) - joules) for key, joules in truth.items()) / math.fsum(truth.values())
