"""A warehouse with hours that are priced, and their totals added up here once more, in fractions."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.settings import Settings
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import APPEND_ONLY_TABLES, REPLACED_TABLES
from pipeline.window import Window
from tests.prices import stored
from tests.prices.stored import START, copied, fold, learn, vintage

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOURS = [START + n * HOUR for n in range(26)]
FOLDED = HOURS[-1] + 2 * HOUR
LATER = FOLDED + 3 * DAY
FIRST_DAY = Window(START, START + DAY)


def given(folder: Path, **more: object) -> Settings:
    """The settings of `stored`, with what more a test says."""
    return stored.settings(folder, **more)


def booked(folder: Path) -> Warehouse:
    """26 hours of a cluster from 2026-11-03 on, priced from estimates of 100 + n g/kWh."""
    return copied(booked_hours, folder)


def booked_hours(folder: Path, hours: list[datetime] = HOURS) -> Warehouse:
    """The same of other hours."""
    learn(Warehouse(folder), *(vintage(hour, 100.0 + n, FOLDED) for n, hour in enumerate(hours)))
    return fold(given(folder), hours, FOLDED + HOUR)


def rows(root: Path, view: str) -> list[dict[str, Any]]:
    """All rows of a view, in one order."""
    with open_views(root, view) as connection:
        return connection.sql(f"from {view} order by all").to_arrow_table().to_pylist()


def totals(
    emissions: Iterable[dict[str, Any]], window: Window, of: Callable[[dict[str, Any]], object]
) -> dict[object, tuple[float, float]]:
    """Joules and grams of the rows inside a window by what `of` says, exactly added."""
    joules: dict[object, Fraction] = defaultdict(Fraction)
    grams: dict[object, Fraction] = defaultdict(Fraction)
    for row in emissions:
        if row["hour_utc"] in window:
            joules[of(row)] += Fraction(row["energy_joules"])
            grams[of(row)] += Fraction(row["emissions_gco2e"] or 0)
    return {key: (float(joules[key]), float(grams[key])) for key in joules}


def namespace(row: dict[str, Any]) -> str:
    """As a report names it."""
    told = row["namespace"]
    return str(told) if told is not None else {"workload": "(unknown)"}.get(row["kind"], f"({row['kind']})")


def tables(root: Path) -> dict[str, object]:
    """Every partition with its content, and the rows of tables that are added to, however they are put together."""
    found: dict[str, object] = {}
    for table in REPLACED_TABLES:
        found |= {str(path.relative_to(root)): path.read_bytes() for path in (root / table).rglob("*.parquet")}
    for table in set(APPEND_ONLY_TABLES) - {"runs"}:
        files = [pq.ParquetFile(path).read() for path in (root / table).rglob("*.parquet")]
        found[table] = {repr(row) for rows in files for row in rows.to_pylist()}
    return found
