"""Meters made by hand: counters as lists of (second, joules), small enough to add up on paper.

Seconds count from `START`, a whole hour. A node needs active and idle counters, a register is optional.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.equality import changed, match_rows
from pipeline.samples import Block, MeterSamples, Samples
from pipeline.sources.meters.kepler import NODE_IDENTITY, POD_IDENTITY, POD_NAMES, RAPL_RANGES_JOULES
from pipeline.tables import EMISSIONS_KEY, NODE_ENERGY_KEY
from pipeline.transforms.coverage import Presence
from pipeline.transforms.energy import Energy, fold
from pipeline.transforms.owners import Owners
from pipeline.transforms.sheet import FoldRules
from pipeline.window import Window, to_ms

START = datetime(2026, 11, 3, 10, tzinfo=UTC)
MAX_GAP_SECONDS = 600
# how a simulated fleet is scraped: well, or seldom and with holes about as long as `max_gap`, by which an extract that
# reaches less far beyond an edge than it must is found out
SCRAPED: list[dict[str, Any]] = [
    {"missed_scrape_ratio": 0.03},
    {"scrape_seconds": 120, "missed_scrape_ratio": 0.5},
]
PACKAGE_RANGE, AMD_RANGE = 262_143.328850, 65_532.610987
WITHHELD_KEY = (
    "hour_utc", "cluster", "node", "component", "kind", "workload", "namespace", "pod", "pod_uid", "container", "check",
)  # fmt: skip
TABLES = (("rows", EMISSIONS_KEY), ("nodes", NODE_ENERGY_KEY), ("withheld", WITHHELD_KEY))

Points = Sequence[tuple[float, float]]


def owners_of(pods: Mapping[str, tuple[str, str]]) -> Owners:
    """Kind and name of what owns pods, by their uid, as kube-state-metrics would tell it."""
    names = ("uid", "namespace", "pod", "replicaset", "job_name", "owner_kind", "owner_name", "owner_is_controller")
    rows = [{"uid": uid, "owner_kind": kind, "owner_name": name} for uid, (kind, name) in pods.items()]
    told = pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names]))
    nothing = told.slice(0, 0), np.zeros((0, 1))
    (owners,) = Owners.by_hour((told, np.ones((len(rows), 1))), nothing, nothing)
    return owners


NOBODY = owners_of({})


def clock(text: str) -> float:
    """Seconds from `START` to a time of its day, such as `clock("10:20")` or `clock("09:59:30")`."""
    hours, minutes, seconds = (*(float(part) for part in text.split(":")), 0.0)[:3]
    return (hours - START.hour) * 3600 + minutes * 60 + seconds


def scrapes(begin: str, end: str, every: float = 30) -> list[float]:
    """Seconds of regular scrapes from `begin` to `end`, both included."""
    return [float(second) for second in np.arange(clock(begin), clock(end) + 0.001, every)]


def line(watts: float, seconds: Iterable[float], joules: float = 0.0, since: float | None = None) -> Points:
    """A counter that holds `joules` at `since` (its first sample) and rises evenly."""
    at = list(seconds)
    origin = at[0] if since is None else since
    return [(second, joules + watts * (second - origin)) for second in at]


def stamp_ms(second: float) -> int:
    """Milliseconds since the epoch."""
    return to_ms(START) + round(second * 1000)


@dataclass
class Counter:
    """Samples of one kind of counter while they are collected."""

    rows: list[tuple[tuple[str, ...], tuple[str | None, ...], float, float]] = field(default_factory=list)

    def add(self, identity: tuple[str, ...], names: tuple[str | None, ...], points: Points) -> None:
        """More samples of a counter."""
        self.rows += [(identity, names, second, joules) for second, joules in points]

    def samples(self, identity: pa.Schema, names: pa.Schema, start_ms: int, end_ms: int) -> Samples:
        """Those with `start_ms <= stamp <= end_ms`, as a transport and a meter would hand them over."""
        rows = [row for row in self.rows if start_ms <= stamp_ms(row[2]) <= end_ms]
        identities, labels = list(dict.fromkeys(row[0] for row in rows)), list(dict.fromkeys(row[1] for row in rows))
        return Samples(
            identity=_table(identities, identity),
            names=_table(labels, names),
            code=np.array([identities.index(row[0]) for row in rows], dtype=np.int64),
            name=np.array([labels.index(row[1]) for row in rows], dtype=np.int64),
            stamp_ms=np.array([stamp_ms(row[2]) for row in rows], dtype=np.int64),
            value=np.array([row[3] for row in rows], dtype=np.float64),
        )


def _table(keys: Sequence[tuple[str | None, ...]], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([key[i] for key in keys], schema.field(i).type) for i in range(len(schema))]
    return pa.Table.from_arrays(columns, schema=schema)


class Made:
    """One meter's samples, made by hand and folded like the product does: from extracts around a window."""

    def __init__(self) -> None:
        self.active, self.idle, self.raw, self.pods = Counter(), Counter(), Counter(), Counter()

    def node(
        self, active: Points, idle: Points, raw: Points = (), node: str = "n1", component: str = "package"
    ) -> "Made":
        """Counters of one node's zone."""
        for counter, points in ((self.active, active), (self.idle, idle), (self.raw, raw)):
            counter.add((node, component), (), points)
        return self

    def pod(
        self,
        uid: str,
        points: Points,
        node: str = "n1",
        component: str = "package",
        name: str | None = "web",
        namespace: str | None = "shop",
    ) -> "Made":
        """Samples of one pod's counter, in any state: call it again for another label set."""
        self.pods.add((node, component, uid), (namespace, name), points)
        return self

    def samples(self, start_ms: int = 0, end_ms: int = 1 << 60) -> MeterSamples:
        """All samples, or those of an extract with both its edges."""
        return MeterSamples(
            meter="kepler",
            active=self.active.samples(NODE_IDENTITY, pa.schema([]), start_ms, end_ms),
            idle=self.idle.samples(NODE_IDENTITY, pa.schema([]), start_ms, end_ms),
            raw=self.raw.samples(NODE_IDENTITY, pa.schema([]), start_ms, end_ms),
            workloads=self.pods.samples(POD_IDENTITY, POD_NAMES, start_ms, end_ms),
            raw_ranges_joules=RAPL_RANGES_JOULES,
        )

    def fold(
        self,
        first: int = 0,
        hours: int = 1,
        step_minutes: int = 60,
        started: Mapping[str, float] | None = None,
        owners: Owners = NOBODY,
        presence: Presence | None = None,
    ) -> Energy:
        """Energy of `hours` hours from the `first` after `START`; `started`: second each pod started, by uid."""
        window = window_of(first, hours)
        gap_ms = MAX_GAP_SECONDS * 1000
        return fold(
            self.samples(window.start_ms - gap_ms - 1, window.end_ms + gap_ms),
            window,
            FoldRules("demo", gap_ms, step_minutes),
            [owners] * hours,
            {uid: stamp_ms(second) for uid, second in (started or {}).items()},
            presence,
        )


def unowned(window: Window) -> list[Owners]:
    """The owners of each hour where kube-state-metrics is not scraped."""
    return [NOBODY] * window.hour_count


def window_of(first: int, hours: int) -> Window:
    """Hours counted from `START`."""
    return Window(START + timedelta(hours=first), START + timedelta(hours=first + hours))


def joined(parts: Sequence[Energy]) -> Energy:
    """Several folds put together."""
    tables = {name: pa.concat_tables([getattr(part, name) for part in parts]) for name, _ in TABLES}
    return Energy(**tables, unmetered=sorted({node for part in parts for node in part.unmetered}))


def fold_both_ways(made: Made, first: int, hours: int, step_minutes: int = 60) -> Energy:
    """The whole range folded at once, after checking that hour by hour gives equal tables."""
    whole = made.fold(first, hours, step_minutes)
    assert differences(whole, joined([made.fold(first + i, 1, step_minutes) for i in range(hours)])) == []
    return whole


def differences(left: Energy, right: Energy) -> list[str]:
    """What two folds disagree on: rows that only one has, and cells that are not equal; all columns, nulls too."""
    return [
        f"{name}: {line}"
        for name, key in TABLES
        for line in table_differences(getattr(left, name), getattr(right, name), key)
    ]


def table_differences(left: pa.Table, right: pa.Table, key: Sequence[str]) -> list[str]:
    """As `differences`, of one table, which must be unique in `key`."""
    for table in (left, right):
        identities = [tuple(row[column] for column in key) for row in table.to_pylist()]
        assert len(set(identities)) == len(identities), "not unique in its key"
    pairs = match_rows(left, right, key)
    found = [f"only in the first: {row}" for row in left.take(pairs.vanished).to_pylist()]
    found += [f"only in the second: {row}" for row in right.take(pairs.appeared).to_pylist()]
    both = left.take(pairs.old), right.take(pairs.new)
    for column in [c for c in left.column_names if c not in key]:
        for index in np.flatnonzero(changed(*both, [column])):
            one, other = (table.slice(int(index), 1).to_pylist()[0] for table in both)
            found.append(f"{[one[k] for k in key]} {column}: {one[column]} != {other[column]}")
    return found


def only(table: pa.Table, **wanted: object) -> dict[str, Any]:
    """The one row with these values."""
    (row,) = where(table, **wanted)
    return row


def where(table: pa.Table, **wanted: object) -> list[dict[str, Any]]:
    """Rows with these values; `hour` counts hours from `START`."""
    if "hour" in wanted:
        wanted["hour_utc"] = START + timedelta(hours=int(str(wanted.pop("hour"))))
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]


def joules(energy: Energy, uid: str, hour: int = 0, component: str = "package") -> float:
    """Joules of one pod in one hour; 0 where it has no row."""
    rows = where(energy.rows, hour=hour, pod_uid=uid, component=component)
    assert len(rows) <= 1
    return float(rows[0]["energy_joules"]) if rows else 0.0


def shuffled(blocks: Iterable[Block], seed: int) -> list[Block]:
    """Blocks in another order."""
    held = list(blocks)
    return [held[i] for i in np.random.default_rng(seed).permutation(len(held))]
