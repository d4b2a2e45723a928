"""What is off in the rows of one stored day, each finding with what would mend it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.equality import Bools, Floats, close
from pipeline.errors import SchemaError
from pipeline.sinks.commits import WHO_AND_WHEN, Commit
from pipeline.sinks.plans import of_hours
from pipeline.sinks.table_checks import KEYS, KINDS, check_conservation, check_keys, check_provenance
from pipeline.tables import values
from pipeline.units import JOULES_PER_KWH

# What mends a fault: the `hours` row out of the footer; the day's sums out of its rows; the price out of what the
# warehouse knows; the fold of raw samples; or nothing but a backup.
Remedy: TypeAlias = Literal["note", "sum", "price", "fold", "backup"]
Tables: TypeAlias = Mapping[str, pa.Table]
Stamp: TypeAlias = tuple[str, int | None] | None
AS_IT_GUARDS = "; nothing was written"  # how a check ends that guards a commit


@dataclass(frozen=True)
class Fault:
    """One thing that is off.

    Attributes:
        cluster: whose; empty where a file is of none.
        day: of the partition; None of an append-only table.
        what: one line.
        remedy: what mends it.
        hours: which of the day's hours it is about.
        is_unreadable: a file cannot be read at all.
    """

    cluster: str
    day: date | None
    what: str
    remedy: Remedy
    hours: frozenset[datetime] = frozenset()
    is_unreadable: bool = False

    def line(self) -> str:
        """For people."""
        return f"{self.cluster} {self.day}: {self.what}" if self.day else self.what


@dataclass(frozen=True)
class StoredDay:
    """What is stored of one (cluster, day).

    Attributes:
        cluster: whose.
        day: its UTC date.
        tables: its rows of `emissions`, `node_energy` and `processes`.
        commits: the footer of `emissions`, by hour.
        noted: newest fold row of each hour in `hours`.
    """

    cluster: str
    day: date
    tables: Tables
    commits: Mapping[datetime, Commit]
    noted: Mapping[datetime, Mapping[str, Any]]

    def faults(self) -> Iterator[Fault]:
        """Everything that is off in the rows, and between them and `hours`."""
        yield from self._commits()
        yield from self._stamps()
        yield from self._checks()
        yield from self._figures()

    def pruned_faults(self) -> Iterator[Fault]:
        """The same of a day whose rows gave way to its sums: they add up to what its nodes metered."""
        yield from self._commits()
        sums = self.tables["emissions"].group_by(["component", "kind"]).aggregate([("energy_joules", "sum")])
        held = {(row["component"], row["kind"]): row["energy_joules_sum"] for row in sums.to_pylist()}
        nodes = self.tables["node_energy"]
        for component in sorted(set(values(nodes, "component"))):
            of_component = nodes.filter(pc.equal(nodes["component"], pa.scalar(component)))
            for kind in KINDS:
                metered, kept = pc.sum(of_component[f"{kind}_joules"]).as_py() or 0.0, held.get((component, kind), 0.0)
                if not close(np.array([metered]), np.array([kept]))[0]:
                    what = f"the day's {kind} rows of {component} hold {kept:,.0f} J, its nodes {metered:,.0f} J"
                    yield Fault(self.cluster, self.day, what, "backup")

    def _fault(self, hour: datetime, what: str, remedy: Remedy) -> Fault:
        return Fault(self.cluster, self.day, f"hour {hour:%HZ}: {what}", remedy, frozenset({hour}))

    def _commits(self) -> Iterator[Fault]:
        """Of every hour `hours` shows the commit that the file carries; a file that is ahead only lacks its row."""
        for hour in sorted({*self.commits, *self.noted}):
            row, held = self.noted.get(hour), _stamp(self.commits.get(hour))
            noted = None if row is None or row["revision"] is None else (row["run_id"], row["revision"])
            if noted != held:
                is_ahead = held is not None and (noted is None or (held[1] or 0) > noted[1])
                what = f"hours shows {_shown(noted)}, emissions holds {_shown(held)}"
                yield self._fault(hour, what, "note" if is_ahead else "fold")

    def _stamps(self) -> Iterator[Fault]:
        """Every row is of its hour's commit."""
        for name, rows in self.tables.items():
            stamps = rows.group_by(["hour_utc", *WHO_AND_WHEN]).aggregate([]).sort_by("hour_utc").to_pylist()
            for row in stamps:
                own, held = (row["run_id"], row["revision"]), _stamp(self.commits.get(row["hour_utc"]))
                if own != held:
                    what = f"{name} has rows of {_shown(own)}, the commit is {_shown(held)}"
                    yield self._fault(row["hour_utc"], what, "fold")

    def _checks(self) -> Iterator[Fault]:
        """What every commit passes: provenance, keys, P1; hour by hour only where the day fails."""
        hours: set[Any] = set().union(*(pc.unique(rows["hour_utc"]).to_pylist() for rows in self.tables.values()))
        if any(True for _ in _failing(self.tables)):
            for hour in sorted(hours):
                for what in _failing({name: of_hours(rows, [hour]) for name, rows in self.tables.items()}):
                    yield self._fault(hour, what, "fold")

    def _figures(self) -> Iterator[Fault]:
        emissions = self.tables["emissions"]
        for hour in _hours_where(emissions, _steps_apart(emissions)):
            yield self._fault(hour, "step_joules do not add up to energy_joules", "fold")
        for hour in _hours_where(emissions, _price_apart(emissions)):
            yield self._fault(
                hour, "facility energy or grams are not what PUE and intensity make of the joules", "price"
            )


def _stamp(commit: Commit | None) -> Stamp:
    return None if commit is None else (commit.run_id, commit.revision)


def _shown(stamp: Stamp) -> str:
    return "nothing" if stamp is None else f"revision {stamp[1]} of {stamp[0]}"


def _failing(tables: Tables) -> Iterator[str]:
    checks: list[Callable[[], None]] = []
    for name, rows in tables.items():
        checks += [partial(check_provenance, name, rows), partial(check_keys, name, rows, KEYS[name])]
    checks.append(partial(check_conservation, tables["emissions"], tables["node_energy"]))
    for check in checks:
        try:
            check()
        except SchemaError as error:
            yield str(error).removesuffix(AS_IT_GUARDS)


def _hours_where(rows: pa.Table, wrong: Bools) -> list[datetime]:
    return sorted(set(values(rows.filter(pa.array(wrong)), "hour_utc")))


def _steps_apart(rows: pa.Table) -> Bools:
    """Rows whose energy is not that of their steps; rows without steps have nothing to compare."""
    steps: Any = rows["step_joules"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(steps), 0).to_numpy(zero_copy_only=False)
    owners = np.repeat(np.arange(rows.num_rows), lengths)
    joules: Floats = pc.list_flatten(steps).to_numpy()
    sums = np.bincount(owners, weights=joules, minlength=rows.num_rows).astype(np.float64)
    return np.asarray((lengths > 0) & ~close(sums, _numbers(rows, "energy_joules")), dtype=np.bool_)


def _price_apart(rows: pa.Table) -> Bools:
    """Rows whose facility energy or grams do not follow from what stands beside them; null follows from null."""
    joules, kwh, grams = (
        _numbers(rows, f"{name}") for name in ("energy_joules", "facility_energy_kwh", "emissions_gco2e")
    )
    expected_kwh = joules / JOULES_PER_KWH * _numbers(rows, "pue_ratio")
    expected = np.where(joules == 0, 0.0, expected_kwh * _numbers(rows, "carbon_intensity_g_per_kwh"))
    return np.asarray(~close(kwh, expected_kwh) | ~close(grams, expected), dtype=np.bool_)


def _numbers(rows: pa.Table, name: str) -> Floats:
    return np.asarray(rows[name].to_numpy(), dtype=np.float64)
