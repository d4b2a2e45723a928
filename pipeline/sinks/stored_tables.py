"""What is asked of the tables under one folder: rows as the views show them, with their full schemas."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from pipeline.errors import SchemaError
from pipeline.sinks import partitions, views
from pipeline.sinks.appended import read_appended
from pipeline.sinks.commits import FOOTER_KEY, parse_footer
from pipeline.sinks.daily import DIGEST_KEY, digest
from pipeline.sinks.plans import STAMP, hours_of_others
from pipeline.sinks.reading import read_rows
from pipeline.tables import (
    FORECASTS,
    HOURS,
    INTENSITY,
    INTENSITY_CHECKS,
    PUE,
    QUARANTINE,
    TABLES,
    conform,
)
from pipeline.window import HOUR, Window


class StoredTables:
    """The tables under one folder, read.

    Args:
        root: the folder; where there is none, every table is empty.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def read_day(self, table: str, cluster: str, day: date) -> pa.Table:
        """The stored rows of one partition of `emissions`, `node_energy` or `processes`: full schema, sorted by key."""
        return partitions.read_partition(self.root, table, cluster, day)

    def read_table(
        self, table: str, start: datetime | str | None = None, end: datetime | str | None = None
    ) -> pa.Table:
        """The rows of a table with `start <= hour_utc < end`, sorted by key; see `read_rows`."""
        return read_rows(self.root, table, start, end)

    def hours(self, cluster: str, window: Window | None = None) -> pa.Table:
        """HOURS rows: the newest fold row of each hour of the cluster, in time order."""
        return self._hours("cluster = $cluster and store is null", window, cluster=cluster)

    def quarantine(self, cluster: str, day: date) -> pa.Table:
        """QUARANTINE rows of the commits that emissions carries: to be handed on when an hour is only priced anew."""
        query = """select * exclude (written_date) from quarantine
                   where cluster = $cluster and (hour_utc at time zone 'UTC')::date = $day order by all"""
        return conform(self._query(query, cluster=cluster, day=day), QUARANTINE)

    def intensity_vintages(self, zones: Mapping[str, str], window: Window, signal: str = "average") -> pa.Table:
        """INTENSITY rows that touch a window: per provider and factor type the newest answer for each instant.

        Null intensity is an answer (withdrawn). Rows do not overlap; an older vintage shows where no newer one reaches.

        Args:
            zones: the zone to take from each provider; no other provider is looked at.
            window: the span.
            signal: `average` or `marginal`.
        """
        query = f"""select {", ".join(INTENSITY.names)} from intensity_newest
            join (select unnest($providers) as provider, unnest($zones) as zone) using (provider, zone)
            where signal = $signal and start_utc < $end and end_utc > $start
            order by provider, signal, factor_type, start_utc"""
        named = {"providers": list(zones), "zones": list(zones.values()), "signal": signal}
        if not zones:
            return INTENSITY.empty_table()
        return conform(self._query(query, **named, start=window.start, end=window.end), INTENSITY)

    def intensity_checks(self, zone: str, provider: str, signal: str, factor_type: str, window: Window) -> pa.Table:
        """INTENSITY_CHECKS rows of one provider and zone that touch a window."""
        query = f"""select {", ".join(INTENSITY_CHECKS.names)} from intensity_checks
            where zone = $zone and provider = $provider and signal = $signal and factor_type = $factor_type
            and start_utc < $end and end_utc > $start"""
        named = {"zone": zone, "provider": provider, "signal": signal, "factor_type": factor_type}
        return conform(self._query(query, **named, start=window.start, end=window.end), INTENSITY_CHECKS)

    def pue_vintages(self, cluster: str, source: str, window: Window) -> pa.Table:
        """PUE rows of a cluster from one source that touch a window, superseded ones included."""
        query = f"""select {", ".join(PUE.names)} from pue
            where cluster = $cluster and source = $source and start_utc < $end and end_utc > $start"""
        named = {"cluster": cluster, "source": source}
        return conform(self._query(query, **named, start=window.start, end=window.end), PUE)

    def forecasts(self, provider: str, zone: str, signal: str, factor_type: str, window: Window) -> pa.Table:
        """FORECASTS rows of one provider and zone that touch a window: the newest of each step, in time order."""
        query = f"""select {", ".join(FORECASTS.names)} from forecasts
            where zone = $zone and provider = $provider and signal = $signal and factor_type = $factor_type
            and start_utc < $end and end_utc > $start
            qualify row_number() over (partition by start_utc, end_utc order by issued_utc desc, fetched_utc desc) = 1
            order by start_utc, end_utc"""
        named = {"zone": zone, "provider": provider, "signal": signal, "factor_type": factor_type}
        return conform(self._query(query, **named, start=window.start, end=window.end), FORECASTS)

    def declared(self, table: str) -> pa.Table:
        """The newest declaration of each cluster in `market_factors` or `cluster_zones`, a withdrawal included."""
        newest = f"from {table} qualify fetched_utc = max(fetched_utc) over (partition by cluster)"
        schema = TABLES[table]
        return conform(self._query(f"select {', '.join(schema.names)} from ({newest})"), schema)

    def hours_of_quality(self, cluster: str, quality: str) -> list[datetime]:
        """Hours of the cluster in which some energy is priced at that quality of intensity."""
        query = "select distinct hour_utc from emissions where cluster = $cluster and intensity_quality = $quality"
        return [row["hour_utc"] for row in self._query(query, cluster=cluster, quality=quality).to_pylist()]

    def torn_hours(self, cluster: str) -> set[datetime]:
        """Hours whose node_energy or processes rows are not of the commit that emissions carries: a kill tore them.

        Footers tell which files to look into, mostly none. A day with a damaged file is left to `verify`.
        """
        torn: set[datetime] = set()
        for folder in sorted(self.root.glob(f"node_energy/cluster={cluster}/date=*")):
            with suppress(SchemaError):
                torn |= self._torn_hours(cluster, date.fromisoformat(folder.name.removeprefix("date=")))
        return torn

    def _torn_hours(self, cluster: str, day: date) -> set[datetime]:
        emissions, *others = (
            partitions.partition_path(self.root, table, cluster, day)
            for table in ("emissions", "node_energy", "processes")
        )
        footer = partitions.read_footer(emissions, FOOTER_KEY)
        state = digest(footer or "")
        doubtful = [path for path in others if partitions.read_footer(path, DIGEST_KEY) != state]
        stamps = [partitions.read_columns(path, STAMP) for path in doubtful]
        return hours_of_others([rows for rows in stamps if rows is not None], parse_footer(footer))

    def _fold_rows(self, cluster: str, day: date) -> list[dict[str, Any]]:
        """Every fold row ever written about the day; an hour is priced after it ends, so none lies in older files."""
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        hour = ds.field("hour_utc")
        wanted = (ds.field("cluster") == cluster) & ds.field("store").is_null()
        wanted &= (hour >= pa.scalar(midnight)) & (hour < pa.scalar(midnight + 24 * HOUR))
        return read_appended(self.root, "hours", day, wanted).to_pylist()

    def _hours(self, condition: str, window: Window | None, **parameters: object) -> pa.Table:
        if window is not None:
            condition += " and hour_utc >= $start and hour_utc < $end"
            parameters |= {"start": window.start, "end": window.end}
        return conform(
            self._query(
                f"select {', '.join(HOURS.names)} from hours where {condition} order by hour_utc", **parameters
            ),
            HOURS,
        )

    def _query(self, text: str, **parameters: object) -> pa.Table:
        with views.open_views(self.root, text) as connection:
            return connection.execute(text, parameters).to_arrow_table()
