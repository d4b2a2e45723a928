"""Two days of two clusters in a warehouse, published by the pipeline to a real Prometheus.

A real VictoriaMetrics gets a copy of its samples: published to, it would show each round only seconds later.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pyarrow as pa

from pipeline.checks import Check
from pipeline.publication import publish_cluster
from pipeline.report import ClusterOutcome, RunReport
from pipeline.settings import Settings
from pipeline.sinks.batches import Sample
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import RunStamp, Warehouse
from pipeline.tables import CLUSTER_ZONES, TEAMS
from pipeline.units import MS_PER_SECOND
from tests.clocks import FixedClock
from tests.dashboards import fleet
from tests.dashboards.expressions import TimeRange
from tests.prices.stored import learn, vintage
from tests.sinks.publishing import server_of, store_of
from tests.sinks.rows import commit, complete

KINDS = ("prometheus", "victoriametrics")
LAST_RUN = fleet.hour_utc(fleet.HOURS) + timedelta(seconds=fleet.RUN_AFTER_SECONDS)


@dataclass(frozen=True)
class Site:
    """A warehouse, and the stores that show it: clients by kind."""

    root: Path
    stores: dict[str, httpx.Client]
    views: duckdb.DuckDBPyConnection

    def rows(self, query: str, chosen: TimeRange) -> list[tuple[Any, ...]]:
        """What DuckDB says; `$start` and `$end` are the hours whose stamp lies in the range, half-open."""
        start, end = (fleet.hour_utc(_hours_before(ms)) for ms in (chosen.start_ms, chosen.end_ms))
        return self.views.sql(query, params={"start": start, "end": end}).fetchall()


def _hours_before(moment_ms: int) -> int:
    """How many hours of the fleet have their stamp, a minute before their end, at `moment_ms` or before."""
    return (moment_ms - fleet.FIRST_HOUR * MS_PER_SECOND + 60_000) // 3_600_000


@contextmanager
def published(folder: Path) -> Iterator[Site]:
    """Committed and published, then two hours priced again and corrected in the stores."""
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(server_of(kind, folder)) for kind in KINDS}
        settings = Settings.model_validate(
            {
                "warehouse": {"path": str(folder / "warehouse")},
                "clusters": [
                    {"name": name, "prometheus_url": "http://127.0.0.1:9", "grid_zone": zone, "pue": fleet.PUE[name]}
                    for name, (zone, _) in fleet.FACTORS.items()
                ],
                "marginal": {"zones": {fleet.MARGINAL[0]: fleet.MARGINAL[1]}},
                "remote_write": [{"url": f"{servers['prometheus'].url}/api/v1/write"}],
            }
        )
        warehouse = Warehouse(folder / "warehouse")
        _commit_all(warehouse)
        _learn_marginal(warehouse)
        _name_teams(warehouse)
        _publish(settings, warehouse, LAST_RUN)
        _settle(warehouse)
        _publish(settings, warehouse, LAST_RUN + timedelta(seconds=1), asked_from=fleet.hour_utc(0))
        clients = {
            kind: stack.enter_context(httpx.Client(base_url=server.url, timeout=60, trust_env=False))
            for kind, server in servers.items()
        }
        with store_of(servers["prometheus"].url, FixedClock(LAST_RUN)) as store:
            store.write(Sample(s.metric, s.labels, s.stamp_seconds * 1000, s.value) for s in fleet.run_samples())
        _copy(clients["prometheus"], clients["victoriametrics"])
        yield Site(warehouse.root, clients, stack.enter_context(open_views(warehouse.root)))


def _commit_all(warehouse: Warehouse) -> None:
    for cluster in fleet.PUE:
        for first in range(0, fleet.HOURS, 24):
            hours = list(range(first, first + 24))
            new = fleet.day_tables(cluster, hours, settled=False)
            stamp = RunStamp("fold", LAST_RUN - timedelta(minutes=1), "digest")
            commit(warehouse, complete([fleet.hour_utc(hour) for hour in hours]), new, stamp, cluster)


def _learn_marginal(warehouse: Warehouse) -> None:
    cluster, zone = fleet.MARGINAL
    told = {"provider": "watttime", "zone": zone, "signal": "marginal", "factor_type": "direct"}
    hours = [fleet.hour_utc(hour) for hour in range(fleet.HOURS)]
    learn(warehouse, *(vintage(hour, 500.0 + hour.hour, LAST_RUN, quality="measured", **told) for hour in hours))
    named = pa.Table.from_pylist([told | {"cluster": cluster, "fetched_utc": LAST_RUN}], CLUSTER_ZONES)
    warehouse.append("cluster_zones", named, "learn", LAST_RUN.date())


def _name_teams(warehouse: Warehouse) -> None:
    rows = [
        {"cluster": cluster, "namespace": namespace, "team": team, "fetched_utc": LAST_RUN}
        for cluster in fleet.PUE
        for team, namespace in fleet.TEAMS.items()
    ]
    warehouse.append("teams", pa.Table.from_pylist(rows, TEAMS), "name", LAST_RUN.date())


def _settle(warehouse: Warehouse) -> None:
    [cluster] = {cluster for cluster, _ in fleet.SETTLED}
    hours = [hour for _, hour in fleet.SETTLED]
    new = fleet.day_tables(cluster, hours, settled=True)
    stamp = RunStamp("settle", LAST_RUN, "digest")
    commit(warehouse, complete([fleet.hour_utc(hour) for hour in hours]), new, stamp, cluster)


def _publish(settings: Settings, warehouse: Warehouse, now: datetime, asked_from: datetime | None = None) -> None:
    for cluster in fleet.PUE:
        outcome = ClusterOutcome(cluster, "lifecycle")
        outcome.checks.append(Check("cross_meter", required=False, passed=True, detail=""))
        report = RunReport(f"run-{now:%H%M%S}", "run", now, dry_run=False)
        for error in publish_cluster(settings, {}, FixedClock(now), warehouse, outcome, report, asked_from):
            raise error


def _copy(source: httpx.Client, target: httpx.Client) -> None:
    query = {"query": '{__name__=~"carbon_.+"}[4d]', "time": str(LAST_RUN.timestamp() + 60)}
    lines = [
        json.dumps({"metric": one["metric"], "values": values, "timestamps": [round(stamp * 1000) for stamp in stamps]})
        for one in source.get("/api/v1/query", params=query).raise_for_status().json()["data"]["result"]
        for stamps, values in [zip(*((stamp, float(text)) for stamp, text in one["values"]), strict=True)]
    ]
    target.post("/api/v1/import", content="\n".join(lines)).raise_for_status()
    target.get("/internal/force_flush").raise_for_status()
