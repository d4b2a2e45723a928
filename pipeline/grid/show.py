"""`carbon-etl grid show`: what the warehouse knows of a zone's hours, or expects of the next ones."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from math import fsum

import numpy as np
import pyarrow as pa

from pipeline.grid.chart import chart
from pipeline.grid.zone import Zone
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import INTENSITY
from pipeline.transforms.selection import CARRIED_AGE, SLOTS, SelectionRule, Vintages
from pipeline.window import Window

LABEL_COLUMNS = 12


@dataclass(frozen=True)
class Hour:
    """One hour's figure and where it is from; None where nobody has one. Of a forecast `updated_utc` is its issue."""

    hour_utc: datetime
    carbon_intensity_g_per_kwh: float | None
    provider: str | None
    zone: str | None
    quality: str
    basis: str | None
    updated_utc: datetime | None


@dataclass(frozen=True)
class Shown:
    """Hours of a zone.

    Attributes:
        about: the zone as messages name it.
        signal: `average` or `marginal`.
        factor_type: `lifecycle` or `direct`.
        is_forecast: what was expected, not what was.
        window: the span.
        hours: every hour of it.
        notes: what a reader should know.
    """

    about: str
    signal: str
    factor_type: str
    is_forecast: bool
    window: Window
    hours: tuple[Hour, ...]
    notes: tuple[str, ...] = ()

    @property
    def known(self) -> list[float]:
        """The figures that there are."""
        return [h.carbon_intensity_g_per_kwh for h in self.hours if h.carbon_intensity_g_per_kwh is not None]

    def lines(self) -> Iterator[str]:
        """A chart, the extremes, the shares and the age."""
        what = f"forecast of the {self.signal}" if self.is_forecast else self.signal
        yield f"{self.about}: {what} {self.factor_type} intensity, g CO2e/kWh"
        yield f"{self.window} ({self.window.hour_count:,} hours, UTC)"
        if self.known:
            yield from ("", *chart(self.window.start, [hour.carbon_intensity_g_per_kwh for hour in self.hours]), "")
            yield from self._figures()
        yield from (f"note: {note}" for note in self.notes)

    def _figures(self) -> Iterator[str]:
        by_figure = sorted(
            (h.carbon_intensity_g_per_kwh, h.hour_utc) for h in self.hours if h.carbon_intensity_g_per_kwh is not None
        )
        (least, clean_utc), (most, dirty_utc) = by_figure[0], by_figure[-1]
        yield _line("min", f"{least:,.1f} ({clean_utc:%FT%H:%MZ})")
        yield _line("mean", f"{fsum(self.known) / len(self.known):,.1f} over {len(self.known):,} hours")
        yield _line("max", f"{most:,.1f} ({dirty_utc:%FT%H:%MZ})")
        for name, shares in self.shares().items():
            yield _line(name, ", ".join(f"{value} {share:.0%}" for value, share in shares.items()))
        updated = "not told" if self.updated_utc is None else f"{self.updated_utc:%FT%H:%MZ}"
        yield _line("issued" if self.is_forecast else "last update", updated)

    @property
    def updated_utc(self) -> datetime | None:
        """The newest update or issue that a provider tells."""
        return max((hour.updated_utc for hour in self.hours if hour.updated_utc), default=None)

    def shares(self) -> Mapping[str, Mapping[str, float]]:
        """Shares of the hours by provider, quality and basis, the greatest first; quality also of hours without any."""
        names = ("provider",) if self.is_forecast else ("provider", "quality", "basis")
        counted = {name: Counter(getattr(hour, name) for hour in self.hours) for name in names}
        return {
            name: {str(v): count / len(self.hours) for v, count in counter.most_common() if v is not None}
            for name, counter in counted.items()
        }

    def to_json(self) -> str:
        """All of it, one line."""
        known = self.known
        document = {
            "zone": self.about,
            "signal": self.signal,
            "factor_type": self.factor_type,
            "forecast": self.is_forecast,
            "start_utc": self.window.start,
            "end_utc": self.window.end,
            "min_g_per_kwh": min(known, default=None),
            "mean_g_per_kwh": fsum(known) / len(known) if known else None,
            "max_g_per_kwh": max(known, default=None),
            "updated_utc": self.updated_utc,
            "shares": self.shares(),
            "hours": [asdict(hour) for hour in self.hours],
            "notes": self.notes,
        }
        return json.dumps(document, default=_json)


def show(zone: Zone, warehouse: Warehouse, window: Window, now: datetime) -> Shown:
    """What prices, or would price, each hour of a window: the answer of the selection rule."""
    vintages = Vintages(zone.held(warehouse, window), zone.signal)
    hours = [_hour(hour, vintages, zone.rule, now) for hour in window.hours()]
    return _shown(zone, window, hours, "carbon-etl grid fetch", is_forecast=False)


def show_forecast(zone: Zone, warehouse: Warehouse, window: Window) -> Shown:
    """The newest forecast of each hour of a window, by the first provider that has one of any of them."""
    names = [name for name in zone.rule.providers if name in zone.zones]
    tables = (warehouse.forecasts(name, zone.zones[name], zone.signal, zone.rule.factor_type, window) for name in names)
    rows = next((table.to_pylist() for table in tables if table.num_rows), [])
    steps = [row | {"basis": None, "quality": "forecast", "updated_utc": row.pop("issued_utc")} for row in rows]
    vintages = Vintages(pa.Table.from_pylist(steps, INTENSITY), zone.signal)
    late = window.end + 2 * CARRIED_AGE  # what is only carried is no forecast
    hours = [_hour(hour, vintages, zone.rule, late) for hour in window.hours()]
    return _shown(zone, window, hours, "carbon-etl grid fetch --forecast", is_forecast=True)


def _hour(hour: datetime, vintages: Vintages, rule: SelectionRule, now: datetime) -> Hour:
    answer = vintages.select(hour, np.ones(SLOTS, dtype=bool), rule, now)
    mean = fsum(answer.slots_g_per_kwh.tolist()) / SLOTS
    figure = None if np.isnan(mean) else mean
    return Hour(hour, figure, answer.provider, answer.zone, answer.quality, answer.basis, answer.updated_utc)


def _shown(zone: Zone, window: Window, hours: Sequence[Hour], remedy: str, *, is_forecast: bool) -> Shown:
    missing = sum(hour.carbon_intensity_g_per_kwh is None for hour in hours)
    notes = [f"{missing:,} of {len(hours):,} hours have no figure: `{remedy}` asks for them"] if missing else []
    return Shown(zone.about, zone.signal, zone.rule.factor_type, is_forecast, window, tuple(hours), tuple(notes))


def _line(name: str, text: str) -> str:
    return f"{name:<{LABEL_COLUMNS}}{text}"


def _json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
