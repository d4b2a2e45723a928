"""Who reads while others write: DuckDB on the views, pandas on the files; each day must show as it was or as it is."""

import math
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.sinks.partitions import has_files
from pipeline.sinks.views import open_views

PAUSE_SECONDS = 0.2

Amount = tuple[int, float, float]  # rows, joules, grams
Shown = Mapping[datetime, Amount]

COLUMNS = ("hour_utc", "energy_joules", "emissions_gco2e")
ROWS = f"select {', '.join(COLUMNS)} from emissions"
NODES = "select hour_utc, metered_joules, 0.0 from node_energy"
DAILY = "select date, sum(energy_joules), sum(emissions_gco2e) from emissions_daily group by date"
TORN = """
    select count(*) from (
        select cluster, hour_utc, node, component, sum(energy_joules) as joules from emissions group by all
    ) join node_energy using (cluster, hour_utc, node, component)
    where abs(joules - metered_joules) > 1e-6"""


@dataclass(frozen=True)
class State:
    """What a warehouse shows: by hour, of emissions and of node_energy."""

    emissions: Shown
    nodes: Shown


NOTHING = State({}, {})


def state(warehouse: Path) -> State:
    """What DuckDB shows."""
    with open_views(warehouse, f"{ROWS} {NODES}") as connection:
        return State(*(_by_hour(connection.sql(query).fetchall()) for query in (ROWS, NODES)))


def _by_hour(rows: Iterable[tuple[datetime, float, float]]) -> Shown:
    joules, grams = defaultdict[datetime, list[float]](list), defaultdict[datetime, list[float]](list)
    for hour, energy, carbon in rows:
        joules[hour].append(energy)
        grams[hour].append(carbon)
    return {hour: (len(one), math.fsum(one), math.fsum(grams[hour])) for hour, one in joules.items()}


@dataclass
class Reader:
    """Reads a warehouse that goes from one state to another.

    Attributes:
        faults: what it should not have seen.
        reads: how often it looked.
    """

    warehouse: Path
    before: State
    after: State
    faults: list[str] = field(default_factory=list)
    reads: int = 0

    def look(self, *, still: bool) -> None:
        """Read once; where the warehouse is `still`, views must also agree with each other."""
        self.reads += 1
        try:
            self._look(still=still)
        except Exception as error:  # noqa: BLE001 # whatever a reader meets is a fault
            self.faults.append(f"{type(error).__name__}: {str(error)[:300]}")

    def _look(self, *, still: bool) -> None:
        with open_views(self.warehouse, f"{ROWS} {NODES} {DAILY}") as connection:
            shown = _by_hour(connection.sql(ROWS).fetchall())
            self._whole("DuckDB", shown)
            for hour, amount in _by_hour(connection.sql(NODES).fetchall()).items():
                if amount not in (self.before.nodes.get(hour), self.after.nodes.get(hour)):
                    self.faults.append(f"node_energy of {hour}: {amount}")
            if connection.sql(TORN).fetchone() != (0,):
                self.faults.append("emissions and node_energy disagree")
            if still:
                self._daily(shown, connection.sql(DAILY).fetchall())
        if has_files(self.warehouse, "emissions"):
            rows = pd.read_parquet(self.warehouse / "emissions", columns=list(COLUMNS))
            self._whole("pandas", _by_hour(rows.itertuples(index=False, name=None)))

    def _whole(self, who: str, shown: Shown) -> None:
        """Each day is wholly as it was, or wholly as it will be."""
        for day, hours in _days(shown, self.before.emissions, self.after.emissions).items():
            seen = {hour: shown[hour] for hour in hours if hour in shown}
            allowed = [{h: s[h] for h in hours if h in s} for s in (self.before.emissions, self.after.emissions)]
            if seen not in allowed:
                self.faults.append(f"{who}: half of {day}: {seen}")

    def _daily(self, shown: Shown, daily: Iterable[tuple[Any, float, float]]) -> None:
        summed = {day: [shown[hour] for hour in hours] for day, hours in _days(shown).items()}
        told = {day: (joules, grams) for day, joules, grams in daily}
        if told.keys() != summed.keys():
            self.faults.append(f"emissions_daily has {sorted(told)}, emissions {sorted(summed)}")
            return
        for day, (joules, grams) in told.items():
            own = math.fsum(one[1] for one in summed[day]), math.fsum(one[2] for one in summed[day])
            if not (math.isclose(joules, own[0], rel_tol=1e-9) and math.isclose(grams, own[1], rel_tol=1e-9)):
                self.faults.append(f"emissions_daily of {day}: {joules} J, {grams} g instead of {own}")

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Read again and again while the block runs."""
        ended = threading.Event()

        def go_on() -> None:
            while not ended.wait(PAUSE_SECONDS):
                if self.warehouse.exists():
                    self.look(still=False)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _days(*shown: Shown) -> dict[Any, set[datetime]]:
    days = defaultdict(set)
    for one in shown:
        for hour in one:
            days[hour.date()].add(hour)
    return dict(days)
