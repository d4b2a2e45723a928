"""A made-up month of two clusters, as docs/preview shows it: `python -m tests.period_report.sample` draws it anew."""

import math
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from pipeline.books.periods import period_of
from pipeline.period_report.formats import FORMATS, write_whole
from pipeline.period_report.gathering import gather
from pipeline.sinks.warehouse import RunStamp, Warehouse
from pipeline.tables import TABLES
from tests.period_report.browser import picture
from tests.period_report.small import UNPRICED
from tests.sinks.rows import commit, complete, emission, metered, tables

PICTURE = Path(__file__).parents[2] / "docs" / "preview" / "report.png"
WIDTH, HEIGHT, COLOURS = 1000, 2240, 256
FIRST, LAST = date(2026, 9, 1), date(2026, 11, 1)
MADE = datetime(2026, 11, 4, 9, 30, tzinfo=UTC)
DARK = ("prod-us", date(2026, 10, 11))  # a day of which nobody knows the intensity
# cluster: zone, mean g/kWh, PUE, provider, basis
CLUSTERS = {
    "prod-eu": ("DE", 330.0, 1.22, "electricity_maps", "consumption"),
    "prod-us": ("US-CAL-CISO", 245.0, 1.11, "eia", "production"),
}
# cluster, namespace, kind, workload, watts in September, watts in October
WORKLOADS = (
    ("prod-eu", "checkout", "Deployment", "cart-api", 410, 430),
    ("prod-eu", "checkout", "Deployment", "payments", 260, 265),
    ("prod-eu", "search", "StatefulSet", "index", 620, 790),
    ("prod-eu", "search", "Deployment", "query", 300, 345),
    ("prod-eu", "data", "CronJob", "nightly-aggregates", 540, 300),
    ("prod-eu", "data", "StatefulSet", "kafka", 380, 385),
    ("prod-eu", "monitoring", "StatefulSet", "prometheus", 150, 155),
    ("prod-us", "recommendations", "Job", "train-ranker", 900, 1480),
    ("prod-us", "recommendations", "Deployment", "ranker", 340, 350),
    ("prod-us", "checkout", "Deployment", "cart-api", 310, 280),
    ("prod-us", "sandbox", "Deployment", "notebooks", 190, 60),
)
OVERHEADS = {"system": 0.09, "idle": 0.42}
TEAMS = {
    "checkout": "shop",
    "search": "discovery",
    "recommendations": "discovery",
    "data": "platform",
    "monitoring": "platform",
}


def fill(root: Path) -> Warehouse:
    """Two months, every hour complete; a day of one cluster has no intensity."""
    warehouse = Warehouse(root)
    for number in range((LAST - FIRST).days):
        midnight = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=number)
        stamp = RunStamp(f"{midnight:%Y%m%d}T010000Z", midnight + timedelta(days=1, hours=1), "8c1f20ab54de")
        hours = [midnight + timedelta(hours=hour) for hour in range(24)]
        for cluster in CLUSTERS:
            emissions, nodes = [], []
            for hour in hours:
                rows = list(_rows(cluster, hour))
                joules = [
                    math.fsum(float(str(row["energy_joules"])) for row in rows if row["kind"] == kind)
                    for kind in ("workload", *OVERHEADS)
                ]
                emissions += rows
                nodes.append(metered(hour, *joules, cluster=cluster))
            commit(warehouse, complete(hours), tables(emissions, nodes), stamp, cluster)
    teams = [
        dict.fromkeys(TABLES["teams"].names)
        | {"cluster": cluster, "namespace": name, "team": team, "fetched_utc": MADE}
        for cluster in CLUSTERS
        for name, team in TEAMS.items()
    ]
    warehouse.append("teams", pa.Table.from_pylist(teams, TABLES["teams"]), "teams", MADE.date())
    return warehouse


def _rows(cluster: str, hour: datetime) -> Iterator[dict[str, object]]:
    zone, mean, pue, provider, basis = CLUSTERS[cluster]
    price: dict[str, Any] = {
        "cluster": cluster, "pue_ratio": pue, "intensity_zone": zone, "intensity_provider": provider,
        "intensity_basis": basis, "carbon_intensity_g_per_kwh": _intensity(mean, hour),
        "intensity_quality": "estimated" if provider == "eia" or hour.day > 28 else "measured",
    }  # fmt: skip
    if (cluster, hour.date()) == DARK:
        price |= UNPRICED
    watts = {
        row: (row[4] if hour.month == 9 else row[5]) * _load(row[3], hour) for row in WORKLOADS if row[0] == cluster
    }
    for (_, namespace, kind, name, *_), power in watts.items():
        owner = {
            "namespace": namespace,
            "workload_kind": kind,
            "workload": name,
            "pod": name,
            "pod_uid": f"{namespace}/{name}",
        }
        yield emission(hour, "workload", power * 3600, **price, **owner)
    for kind, share in OVERHEADS.items():
        yield emission(hour, kind, math.fsum(watts.values()) * share * 3600, **price)


def _intensity(mean: float, hour: datetime) -> float:
    """A grid with sun at noon, quiet weekends and a windy end of October."""
    sun = math.cos((hour.hour - 13) / 24 * 2 * math.pi)
    week = math.sin(hour.toordinal() * 0.9) * 0.13 - (0.12 if hour.weekday() >= 5 else 0)
    wind = -0.06 * (hour.month == 10) - 0.1 * (hour.month == 10 and hour.day > 20)
    return round(mean * (1 - 0.22 * sun + week + wind), 1)


def _load(workload: str, hour: datetime) -> float:
    if "nightly" in workload:
        return 2.5 if hour.hour < 6 else 0.2
    return 1 + 0.25 * math.sin((hour.hour - 9) / 24 * 2 * math.pi) - (0.15 if hour.weekday() >= 5 else 0)


def main() -> None:
    """Make the warehouse and the page aside; keep the picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "warehouse")
        figures = gather(folder / "warehouse", period_of("2026-10", None, None), None, list(CLUSTERS), MADE)
        for kind, render in FORMATS.items():
            write_whole(folder / f"report.{kind}", render(figures))
        picture(folder / "report.html", folder / "report.png", WIDTH, HEIGHT)
        PICTURE.parent.mkdir(exist_ok=True)
        Image.open(folder / "report.png").convert("RGB").quantize(COLOURS).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
