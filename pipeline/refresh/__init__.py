"""Asks providers what they say now, where that may have changed, and stores what differs.

The order of effects is raw answers, vintages, checks: an hour counts as asked only when its answer is stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import CarbonEtlError, ConfigError, SourceError
from pipeline.prices import MARGIN
from pipeline.sinks.warehouse import Warehouse
from pipeline.sources.grid.contract import Ask, FileProvider, Payload, Provider, Signal
from pipeline.sources.grid.web import NothingThere, NotInPlan
from pipeline.tables import INTENSITY, INTENSITY_CHECKS, PAYLOADS
from pipeline.transforms.selection import QUALITIES, SLOTS, SelectionRule, Vintages, changed_vintages
from pipeline.transforms.settling import due_windows
from pipeline.window import HOUR, Window, floor_hour

RESOLUTION = timedelta(microseconds=1)
OUTCOMES: dict[type[CarbonEtlError], str] = {NothingThere: "nothing", NotInPlan: "not in plan"}


class Asked(Protocol):
    """Who is asked about which zone: a cluster's `prices.Prices`, or what `grid.zone.Zone` opens for a command."""

    @property
    def rule(self) -> SelectionRule:
        """In which order providers are trusted, and the factor type."""
        ...

    @property
    def web(self) -> Mapping[str, Provider]:
        """Providers that are asked, by name."""
        ...

    @property
    def files(self) -> Mapping[str, FileProvider]:
        """Providers that are read whole, by name."""
        ...

    @property
    def zones(self) -> Mapping[str, str]:
        """Each provider's own name for the zone."""
        ...

    def held(self, warehouse: Warehouse, window: Window) -> pa.Table:
        """All that is known of a window, schema INTENSITY."""
        ...


@dataclass
class Refreshed:
    """What asking came to.

    Attributes:
        fresh: vintages that differ from what was stored, schema INTENSITY.
        asked_hours: hours that some provider was asked about.
        problems: what went wrong, by provider; the others were asked all the same.
        warnings: what providers put beside their figures.
    """

    fresh: pa.Table = field(default_factory=INTENSITY.empty_table)
    asked_hours: int = 0
    problems: list[CarbonEtlError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass
class Refresh:
    """One cluster's providers, asked on behalf of one run.

    Args:
        prices: who is asked, about which zone.
        warehouse: what is known, and where it is kept.
        run_id: names the files.
        now: when the run asks.
        dry_run: ask, write nothing.
    """

    prices: Asked
    warehouse: Warehouse
    run_id: str
    now: datetime
    dry_run: bool = False

    def files(self, hours: Sequence[datetime]) -> pa.Table:
        """What the user's files say newly of these hours, schema INTENSITY; nothing else is asked.

        Raises:
            ConfigError: a file that is not what its format says.
            SinkError: the warehouse cannot be written.
        """
        done, rule = Refreshed(), self.prices.rule
        if hours:
            window = Window(min(hours), max(hours) + HOUR)
            for name, provider in self.prices.files.items():
                offered = provider.read(self.prices.zones[name], window, rule.factor_type, self.now)
                self._keep(done, name, offered, None)
        return done.fresh

    def average(self, hours: Sequence[datetime]) -> Refreshed:
        """Ask about the average intensity of these hours: the next provider only where those before it do not suffice.

        Raises:
            ConfigError, SinkError: as `files`.
        """
        done, rule = Refreshed(self.files(hours)), self.prices.rule
        for position, name in enumerate(rule.providers):
            if hours and name in self.prices.web:
                before = SelectionRule(rule.providers[:position], rule.factor_type, rule.accept)
                self.ask(done, name, self._unanswered(hours, before, done), "average")
        return done

    def ask(self, done: Refreshed, name: str, hours: Sequence[datetime], signal: Signal) -> None:
        """Ask one provider about those of the hours that are due; what it refuses becomes a problem of `done`."""
        if not hours:
            return
        zone, factor_type = self.prices.zones[name], self.prices.rule.factor_type
        window = Window(min(hours), max(hours) + HOUR)
        checks = self.warehouse.intensity_checks(zone, name, signal, factor_type, window)
        for due in due_windows(hours, checks, self.now):
            ask = Ask(zone, due.start, due.end, signal, factor_type)
            changed, outcome = 0, "ok"
            try:
                for payload, rows in self._answers(name, ask):
                    changed += self._keep(done, name, rows, payload)
            except ConfigError as error:  # a secret that is missing: nobody was asked, and others may be
                done.problems.append(error)
                break
            except SourceError as error:
                outcome = OUTCOMES.get(type(error), "failed")
                done.problems.append(error)
            done.asked_hours += due.hour_count
            self._note(ask, name, outcome, changed)
            if outcome == "failed":  # the next span would fare no better
                break
        done.warnings += [text for text in self.prices.web[name].warnings if text not in done.warnings]

    def _answers(self, name: str, ask: Ask) -> Iterator[tuple[Payload, pa.Table]]:
        provider = self.prices.web[name]
        for payload in provider.fetch(ask):
            yield payload, provider.parse(payload)

    def _keep(self, done: Refreshed, name: str, offered: pa.Table, payload: Payload | None) -> int:
        if not offered.num_rows:
            return 0
        first, last = pc.min(offered["start_utc"]).as_py(), pc.max(offered["end_utc"]).as_py()
        span = Window(floor_hour(first), floor_hour(last - RESOLUTION) + HOUR)
        zones = {name: self.prices.zones[name]}
        fresh = changed_vintages(offered, self.warehouse.intensity_vintages(zones, span, offered["signal"][0].as_py()))
        if not fresh.num_rows:
            return 0
        done.fresh = pa.concat_tables([done.fresh, fresh])
        if not self.dry_run:
            if payload is not None:
                self._append("payloads", payload_rows(payload, name))
            self._append("intensity", fresh)
        return fresh.num_rows

    def _note(self, ask: Ask, name: str, outcome: str, changed: int) -> None:
        row = {
            "zone": ask.zone,
            "provider": name,
            "signal": ask.signal,
            "factor_type": ask.factor_type,
            "start_utc": ask.start,
            "end_utc": ask.end,
            "asked_utc": self.now,
            "outcome": outcome,
            "changed": changed,
        }
        if not self.dry_run:
            self._append("intensity_checks", pa.Table.from_pylist([row], INTENSITY_CHECKS))

    def _append(self, table: str, rows: pa.Table) -> None:
        self.warehouse.append(table, rows, self.run_id, self.now.date())

    def _unanswered(self, hours: Sequence[datetime], rule: SelectionRule, done: Refreshed) -> list[datetime]:
        """The hours for which the providers of `rule` have nothing that the cluster would accept."""
        if not rule.providers:
            return list(hours)
        window = Window(min(hours), max(hours) + HOUR)
        known = Vintages(pa.concat_tables([self.prices.held(self.warehouse, window), done.fresh]))
        every, good = np.ones(SLOTS, dtype=bool), QUALITIES.index(rule.accept)
        # asked as of long after: what is only carried is no answer of its own
        later = window.end + 100 * MARGIN
        return [h for h in hours if QUALITIES.index(known.select(h, every, rule, later).quality) > good]


def payload_rows(payload: Payload, provider: str) -> pa.Table:
    """An answer as the one row of PAYLOADS that keeps it."""
    row = {
        "payload_id": payload.payload_id,
        "provider": provider,
        "url": payload.url,
        "fetched_utc": payload.fetched_utc,
        "body": payload.body,
    }
    return pa.Table.from_pylist([row], PAYLOADS)
