"""Power usage effectiveness: the configuration's number, what a cloud publishes, a file, or the cluster's Prometheus.

Every source speaks in rows of schema PUE: whole hours, the ratio null where a figure is withdrawn or is no PUE.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from pipeline.errors import ConfigError, SourceMalformed
from pipeline.settings import ClusterSettings
from pipeline.settings.pue import LEAST_PUE, MOST_PUE, PueTable, implausible_pue
from pipeline.sources.csv_rows import csv_rows, refuse_overlaps
from pipeline.sources.grid import yearly
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import expression
from pipeline.sources.prometheus.servers import Servers
from pipeline.tables import PUE
from pipeline.units import MS_PER_HOUR
from pipeline.window import EPOCH, HOUR, Window, floor_hour, from_ms, parse_time

REQUIRED = ("start_utc", "end_utc", "pue_ratio")
OPTIONAL = ("updated_utc", "cluster")
YEAR = re.compile(r"(?:19|20)\d\d")
SLICE_MS = timedelta(days=7) // timedelta(milliseconds=1)  # what one request asks for: no server tires of it
ADVICE = "let it give one, as sum(...) / sum(...) does"


class StatedPue:
    """One figure for all hours, or all since a year began: of the configuration or this program, never stored."""

    def __init__(self, cluster: str, ratio: float, source: str, since: datetime = EPOCH) -> None:
        self.cluster, self.ratio, self.source, self.since = cluster, ratio, source, since

    def rows(self, window: Window) -> pa.Table:
        """The figure over the part of a window that it speaks of, schema PUE."""
        start = max(window.start, self.since)
        row = _row(self.cluster, self.source, start, window.end, self.ratio, EPOCH)
        return pa.Table.from_pylist([row] if start < window.end else [], PUE)


class PueFile:
    """A user's CSV: `start_utc,end_utc,pue_ratio`, optionally `updated_utc` and `cluster`; empty withdraws a figure."""

    source = "csv"

    def __init__(self, path: Path, cluster: str) -> None:
        self.path, self.cluster = path, cluster

    def read(self, fetched_utc: datetime) -> pa.Table:
        """All its figures of the cluster, schema PUE; without a column `cluster` all are.

        Raises:
            ConfigError: names the file, the line and what to write instead.
        """
        rows = [self._row(where, row, fetched_utc) for where, row in csv_rows(self.path, REQUIRED, OPTIONAL, "PUE")]
        refuse_overlaps(self.path, rows, "cluster")
        return pa.Table.from_pylist([row for row in rows if row["cluster"] == self.cluster], PUE)

    def _row(self, where: str, row: dict[str, str], fetched_utc: datetime) -> dict[str, object]:
        start, end = (parse_time(row[name], f"{where}: {name}") for name in ("start_utc", "end_utc"))
        if end <= start or start != floor_hour(start) or end != floor_hour(end):
            raise ConfigError(f"{where}: a figure holds from one whole UTC hour to a later one, not {start} to {end}")
        cluster, updated = row.get("cluster", self.cluster), row.get("updated_utc")
        if not cluster:
            raise ConfigError(f"{where}: cluster is empty")
        found = _row(cluster, self.source, start, end, _ratio(row["pue_ratio"], where), fetched_utc)
        return found | {"updated_utc": parse_time(updated, f"{where}: updated_utc") if updated else None}


class PueAnswer(NamedTuple):
    """What an expression gives of some hours.

    Attributes:
        rows: a row for each hour that it gives anything for, schema PUE.
        refused: what it gives that is no PUE, by hour; null in `rows`.
    """

    rows: pa.Table
    refused: dict[datetime, float]


class PueQuery:
    """A PromQL expression of facility power over IT power, on the cluster's own Prometheus.

    It is evaluated at an hour's right edge, so that a range of one hour in it, such as `avg_over_time(x[1h])`, is that
    hour. `source` is the expression as configured: another one is another source.
    """

    def __init__(self, query: str, cluster: str, servers: Servers[PrometheusServer]) -> None:
        self.cluster, self._servers, self._text = cluster, servers, query
        self._query = expression(query, servers.first.matchers)
        self.source = f"query:{' '.join(query.split())}"

    def fetch(self, window: Window, fetched_utc: datetime) -> Iterator[PueAnswer]:
        """What it gives for the hours of a window, all over by now: an answer for each request that it takes.

        Raises:
            SourceMalformed: more than one series.
            SourceError: as of `PrometheusServer.matrix`.
        """
        for start_ms in range(window.start_ms, window.end_ms, SLICE_MS):
            end_ms = min(start_ms + SLICE_MS, window.end_ms)
            yield self._answer(start_ms, end_ms, fetched_utc)

    def _answer(self, start_ms: int, end_ms: int, fetched_utc: datetime) -> PueAnswer:
        found = self._servers.first_answer(
            lambda server: server.matrix(
                expression(self._text, server.matchers), start_ms + MS_PER_HOUR, end_ms, MS_PER_HOUR
            )
        )
        if len(found) > 1:
            raise SourceMalformed(f"the PUE query {self._query!r} gives {len(found)} series: {ADVICE}")
        values = {from_ms(ms) - HOUR: value for _, samples in found for ms, value in samples}
        refused = {hour: value for hour, value in values.items() if not LEAST_PUE <= value <= MOST_PUE}
        rows = [
            _row(self.cluster, self.source, hour, hour + HOUR, None if hour in refused else value, fetched_utc)
            for hour, value in values.items()
        ]
        return PueAnswer(pa.Table.from_pylist(rows, PUE), refused)


PueSource = StatedPue | PueFile | PueQuery


def open_pue(cluster: ClusterSettings, servers: Servers[PrometheusServer]) -> PueSource:
    """The source that a cluster's configuration names; a file is read once to see that it can be.

    Raises:
        ConfigError: a file or an expression that is not what it should be, or a region of which no PUE is published.
    """
    pue = cluster.pue
    if not isinstance(pue, PueTable):
        return StatedPue(cluster.name, pue, "config")
    if pue.query is not None:
        return PueQuery(pue.query, cluster.name, servers)
    if pue.csv is not None:
        file = PueFile(pue.csv, cluster.name)
        file.read(EPOCH)
        return file
    published = published_pue(cluster)
    if published is None:
        raise ConfigError(f"no PUE of {cluster.cloud} {cluster.region} is published: write pue = 1.2")
    return published


def published_pue(cluster: ClusterSettings) -> StatedPue | None:
    """What the cluster's cloud publishes of its region, from the year on that the figure is of; undated, for all."""
    row = yearly.cloud_region(cluster.cloud, cluster.region)
    if row is None or not row["pue"]:
        return None
    year = YEAR.search(row["pue_year"])
    since = datetime(int(year[0]), 1, 1, tzinfo=UTC) if year else EPOCH
    source = f"published:{cluster.cloud}/{cluster.region}/{row['pue_year']} ({row['pue_scope']})"
    return StatedPue(cluster.name, _plausible(float(row["pue"]), source), source, since)


def _row(
    cluster: str, source: str, start: datetime, end: datetime, ratio: float | None, fetched_utc: datetime
) -> dict[str, object]:
    return {
        "cluster": cluster,
        "start_utc": start,
        "end_utc": end,
        "pue_ratio": ratio,
        "source": source,
        "updated_utc": None,
        "fetched_utc": fetched_utc,
    }


def _ratio(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        ratio = float(text)
    except ValueError:
        raise ConfigError(f"{where}: {text!r} is no PUE: write a number such as 1.2") from None
    return _plausible(ratio, where)


def _plausible(ratio: float, where: str) -> float:
    reason = implausible_pue(ratio)
    if reason is not None:
        raise ConfigError(f"{where}: {reason}")
    return ratio
