"""What is disturbed: two hours of a small fleet across midnight, a grid of its own, and ways to come to figures."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa

from pipeline.demo.fleet import Fleet, churning, simulate
from pipeline.sinks.views import open_views
from pipeline.window import HOUR, Window
from tests.faults.victims import Asked, Ended, Victims

MIDNIGHT = datetime(2026, 11, 4, tzinfo=UTC)
HOURS = Window(MIDNIGHT - HOUR, MIDNIGHT + HOUR)
NOW = HOURS.end + timedelta(minutes=13)
MINUTE = timedelta(minutes=1)
ZONE = "XX"

CONFIG = """\
[warehouse]
path = "{folder}/warehouse"
[[clusters]]
name = "{cluster}"
prometheus = [{{ url = "{source}", selector = '{selector}' }}]
grid_zone = "{zone}"
pue = {pue}
[intensity]
providers = ["csv"]
csv = {{ path = "{folder}/grid.csv" }}
[http]
retry_seconds = 5
"""
STORE = '[[remote_write]]\nname = "store"\nurl = "{store}/api/v1/write"\n'


def small_fleet() -> Fleet:
    """Two nodes whose pods come and go, scraped every minute."""
    spec = churning(seed=3, start=HOURS.start, hours=HOURS.hour_count, nodes=2, pods_per_node=2)
    return simulate(replace(spec, scrape_seconds=60, jobs_per_hour=3.0, crash_loops=0))


@dataclass(frozen=True)
class Place:
    """A folder with a config of its own; its cluster's name keeps its series apart in a store that all share."""

    folder: Path
    source: str
    store: str

    @property
    def cluster(self) -> str:
        return self.folder.name

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse"

    def configure(
        self, *, pue: float = 1.25, grams: float = 300.0, publishes: bool = True, selector: str = "{}"
    ) -> None:
        """Write the config and the grid's figures."""
        self.folder.mkdir(exist_ok=True)
        text = CONFIG + (STORE if publishes else "")
        config = text.format(
            folder=self.folder, cluster=self.cluster, source=self.source, zone=ZONE, pue=pue, store=self.store,
            selector=selector,
        )  # fmt: skip
        (self.folder / "carbon-etl.toml").write_text(config)
        lines = ["zone,start_utc,end_utc,carbon_intensity_g_per_kwh"]
        for number, hour in enumerate(HOURS.hours()):
            lines.append(f"{ZONE},{hour.isoformat()},{(hour + HOUR).isoformat()},{grams + 17 * number}")
        (self.folder / "grid.csv").write_text("\n".join(lines) + "\n")

    def asked(self, command: str, minute: int, window: Window | None = None, **faults: Any) -> Asked:  # noqa: ANN401 # of Asked
        """A command, so many minutes after the hours have closed."""
        config, now = str(self.folder / "carbon-etl.toml"), (NOW + minute * MINUTE).isoformat()
        span = (window.start.isoformat(), window.end.isoformat()) if window else ("", "")
        return Asked(config, command, now, *span, **faults)


@dataclass(frozen=True)
class Scene:
    """A command that is disturbed where the scene before it ended, and then repeated.

    Attributes:
        name: what happens.
        command: `run`, `backfill` or `reprice`.
        window: of it.
        configured: what the config says from here on: arguments of `Place.configure`.
    """

    name: str
    command: str
    window: Window | None = None
    configured: Mapping[str, Any] = field(default_factory=dict)

    def play(self, place: Place, victims: Victims, minute: int, **faults: Any) -> Ended:  # noqa: ANN401 # of Asked
        """The command so many minutes after the hours have closed, with or without a fault."""
        place.configure(**self.configured)
        return victims.end(place.asked(self.command, minute, self.window, **faults))


# Each story in an order in which every scene has something to do.
STORIES = {
    "corrected": (
        Scene("backfill", "backfill", HOURS),
        Scene("backfill, the grid's figures changed", "backfill", HOURS, {"grams": 400.0}),
        Scene("reprice, another PUE", "reprice", HOURS, {"grams": 400.0, "pue": 1.4}),
    ),
    "grown": (
        Scene("backfill without a store", "backfill", Window.of_hour(HOURS.start), {"publishes": False}),
        Scene("run, an hour more and a store", "run"),
    ),
}


def well(ended: Ended) -> Ended:
    """It must have gone well."""
    assert ended.code == 0, ended.said
    return ended


# --- what stands in the end

WHO_AND_WHEN = ("run_id", "intensity_updated_utc", "source_digest")
QUESTIONS = {
    "emissions": "select * from emissions order by all",
    "node_energy": "select * from node_energy order by all",
    "emissions_daily": "select * from emissions_daily order by all",
    "quarantine": "select * from quarantine order by all",
    "revisions": "select * exclude (written_utc) from revisions order by all",
    "hours": "select cluster, hour_utc, store, state, revision, samples from hours order by all",
    "intensity": "select distinct zone, start_utc, end_utc, carbon_intensity_g_per_kwh from intensity order by all",
}


def figures(warehouse: Path) -> dict[str, pa.Table]:
    """The rows of every table that holds figures, less who wrote them and when."""
    found = {}
    with open_views(warehouse, " ".join(QUESTIONS.values())) as connection:
        for name, question in QUESTIONS.items():
            rows = connection.sql(question).to_arrow_table()
            found[name] = rows.drop_columns([c for c in (*WHO_AND_WHEN, "cluster") if c in rows.column_names])
    return found


def published(store: str, cluster: str) -> dict[str, float]:
    """Every sample that the store holds of a cluster's joules and grams, by labels and stamp."""
    query = f'{{__name__=~"carbon_.*(grams|joules|per_kwh|ratio)", __name__!~"carbon_etl_.*", cluster="{cluster}"}}[3d]'
    at = (HOURS.end + 24 * HOUR).timestamp()
    answer = httpx.get(f"{store}/api/v1/query", params={"query": query, "time": at, "nocache": 1}, trust_env=False)
    held: dict[str, float] = {}
    for series in answer.raise_for_status().json()["data"]["result"]:
        labels = json.dumps(
            {name: text for name, text in series["metric"].items() if name != "cluster"}, sort_keys=True
        )
        held |= {f"{labels} {stamp}": float(text) for stamp, text in series["values"]}
    return held


@dataclass(frozen=True)
class Outcome:
    """What a scene leaves: rows by table, samples in the store."""

    rows: Mapping[str, pa.Table]
    samples: Mapping[str, float]

    @classmethod
    def of(cls, place: Place) -> "Outcome":
        """As it stands."""
        return cls(figures(place.warehouse), published(place.store, place.cluster))

    def differences(self, other: "Outcome") -> list[str]:
        """Where the two are not equal to 1e-9."""
        found = [
            f"{name}: {_difference(rows, other.rows[name])}"
            for name, rows in self.rows.items()
            if not rows.equals(other.rows[name]) and _difference(rows, other.rows[name])
        ]
        if self.samples.keys() != other.samples.keys():
            found.append(f"samples: {sorted(self.samples.keys() ^ other.samples.keys())[:4]}")
        else:
            found += [
                f"{key}: {value} instead of {other.samples[key]}"
                for key, value in self.samples.items()
                if not _equal(value, other.samples[key])
            ]
        return found


def _difference(one: pa.Table, other: pa.Table) -> str:
    if one.num_rows != other.num_rows:
        return f"{one.num_rows} rows instead of {other.num_rows}"
    for mine, theirs in zip(one.to_pylist(), other.to_pylist(), strict=True):
        for name, value in mine.items():
            if not _equal(value, theirs[name]):
                return f"{name} {value} instead of {theirs[name]} in {theirs}"
    return ""


def _equal(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other
