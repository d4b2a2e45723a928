"""Which PUE an hour is priced with: of all vintages that cover it the newest, a withdrawn one included."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.equality import close
from pipeline.samples import Int64s
from pipeline.tables import PUE
from pipeline.transforms.emissions import NO_PUE, Pue
from pipeline.transforms.settling import YOUNG
from pipeline.window import EPOCH, HOUR, from_ms, to_ms

NOWHERE = -1


class PueVintages:
    """PUE vintages of one cluster, ready to be asked.

    Args:
        table: schema PUE; spans of whole hours.
    """

    def __init__(self, table: pa.Table) -> None:
        rows = table.to_pylist()
        self.rows = sorted(rows, key=lambda row: (row["fetched_utc"], row["updated_utc"] or EPOCH))
        self._start = np.array([to_ms(row["start_utc"]) for row in self.rows], dtype=np.int64)
        self._end = np.array([to_ms(row["end_utc"]) for row in self.rows], dtype=np.int64)

    @property
    def edges_ms(self) -> Int64s:
        """Where any vintage begins or ends, in order."""
        return np.unique(np.concatenate([self._start, self._end]))

    def covering(self, instants_ms: Int64s) -> Int64s:
        """Which of `rows` holds at each of some instants in order: greatest (fetched_utc, updated_utc); else -1."""
        newest = np.full(len(instants_ms), NOWHERE, dtype=np.int64)
        first, last = np.searchsorted(instants_ms, self._start), np.searchsorted(instants_ms, self._end)
        for row in np.flatnonzero(first < last):  # oldest first: the newest stays
            newest[first[row] : last[row]] = row
        return newest

    def at(self, hours: Iterable[datetime]) -> dict[datetime, Pue]:
        """The PUE of each hour, null where no vintage covers it or the newest is withdrawn."""
        ordered = sorted(hours)
        held = self.covering(np.array([to_ms(hour) for hour in ordered], dtype=np.int64))
        return {hour: self._pue(row) for hour, row in zip(ordered, held.tolist(), strict=True)}

    def _pue(self, row: int) -> Pue:
        if row == NOWHERE or self.rows[row]["pue_ratio"] is None:
            return NO_PUE
        return Pue(self.rows[row]["pue_ratio"], self.rows[row]["source"])


def hours_to_ask(hours: Iterable[datetime], stored: PueVintages, now: datetime) -> list[datetime]:
    """Of some hours those that are over and young, or of which nothing is stored; in time order."""
    over = sorted(hour for hour in set(hours) if hour + HOUR <= now)
    held = stored.covering(np.array([to_ms(hour) for hour in over], dtype=np.int64)).tolist()
    return [hour for hour, row in zip(over, held, strict=True) if row == NOWHERE or now - hour - HOUR < YOUNG]


def changed_pues(offered: pa.Table, stored: pa.Table) -> pa.Table:
    """What of the offered vintages changes any hour, schema PUE: one is stored only where something differs.

    A vintage that another one offered with it supersedes, or that says what is known, is left out over that part of its
    span: stored anew it would be the newest there.
    """
    new, old = PueVintages(offered), PueVintages(stored)
    edges = np.union1d(new.edges_ms, old.edges_ms)
    told, known = new.covering(edges), old.covering(edges)
    differs = [
        row != NOWHERE and (held == NOWHERE or not _same(new.rows[row], old.rows[held]))
        for row, held in zip(told.tolist(), known.tolist(), strict=True)
    ]
    return pa.Table.from_pylist(list(_clipped(new.rows, edges, told, differs)), PUE)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    ratios = np.array([[row["pue_ratio"]] for row in (one, other)], dtype=np.float64)
    return bool(close(*ratios).all()) and one["updated_utc"] == other["updated_utc"]


def _clipped(rows: list[dict[str, Any]], edges: Int64s, told: Int64s, differs: list[bool]) -> Iterator[dict[str, Any]]:
    """Each vintage over the parts of its span in which it is told and differs."""
    begin = 0
    for at in range(1, len(edges)):  # nothing is told at the last edge
        if (told[at], differs[at]) != (told[begin], differs[begin]):
            if differs[begin]:
                yield rows[told[begin]] | {"start_utc": from_ms(edges[begin]), "end_utc": from_ms(edges[at])}
            begin = at
