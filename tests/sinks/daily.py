"""The daily roll-up three ways: as its view shows it, as its files hold it, and summed here from the hours."""

from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.sinks.views import open_views
from pipeline.tables import EMISSIONS_DAILY_KEY

FIGURES = (
    "energy_joules",
    "facility_energy_kwh",
    "emissions_gco2e",
    "unpriced_energy_joules",
    "hours",
    "unpriced_hours",
)
Days = dict[tuple[Any, ...], tuple[Any, ...]]


def rolled_up(root: Path) -> Days:
    """What the view shows, rounded to the digits that make two sums equal."""
    with open_views(root, "emissions_daily") as connection:
        return _days(connection.sql("from emissions_daily").to_arrow_table().to_pylist())


def stored(root: Path) -> Days:
    """What the files hold, whatever the view makes of them."""
    found = []
    for path in root.glob("emissions_daily/cluster=*/date=*/*.parquet"):
        cluster = path.parent.parent.name.removeprefix("cluster=")
        found += [row | {"cluster": cluster} for row in pq.ParquetFile(path).read().to_pylist()]
    return _days(found)


def summed(root: Path) -> Days:
    """The same, added up exactly, row by row, from what `emissions` shows."""
    with open_views(root, "emissions") as connection:
        rows = connection.sql("from emissions").to_arrow_table().to_pylist()
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        row["date_utc"] = row["hour_utc"].replace(hour=0)
        groups[tuple(row[name] for name in EMISSIONS_DAILY_KEY)].append(row)
    days = []
    for key, members in groups.items():
        unpriced = [row for row in members if row["emissions_gco2e"] is None]
        figures: dict[str, Any] = {
            name: _sum([row[name] for row in members if row[name] is not None]) for name in FIGURES[:3]
        }
        figures["unpriced_energy_joules"] = _sum([row["energy_joules"] for row in unpriced]) or 0.0
        figures |= {"hours": len({row["hour_utc"] for row in members})}
        figures |= {"unpriced_hours": len({row["hour_utc"] for row in unpriced})}
        days.append(dict(zip(EMISSIONS_DAILY_KEY, key, strict=True)) | figures)
    return _days(days)


def _sum(values: list[float]) -> float | None:
    return float(sum(map(Fraction, values))) if values else None


def _days(rows: list[dict[str, Any]]) -> Days:
    days = {
        tuple(row[name] for name in EMISSIONS_DAILY_KEY): tuple(
            float(f"{row[name]:.9g}") if isinstance(row[name], float) else row[name] for name in FIGURES
        )
        for row in rows
    }
    assert len(days) == len(rows), "a group stands in two rows"
    return days
