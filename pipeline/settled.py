"""`carbon-etl settled`: how final each day's figures are, and from which day on they may still change."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from itertools import takewhile
from typing import Any

from pipeline.job import Job
from pipeline.prices import Fresh
from pipeline.refresh import Refresh
from pipeline.refresh.pue import PueRefresh
from pipeline.reprice import priced_hours, settling
from pipeline.sinks.sql import run_query, shipped_queries
from pipeline.site import Site, open_site
from pipeline.transforms.settling import MILESTONES, milestone
from pipeline.window import HOUR

QUERY = "settled"
SHARES = ("measured", "estimated", "provisional", "yearly", "missing")
FOLDED = 1  # milestones after which energy is final, too: until 48 h an hour may be folded again


@dataclass(frozen=True)
class Day:
    """One day of a cluster, as `queries/settled.sql` has it, with what the configuration and the present add.

    Attributes:
        day: UTC.
        zones: of its intensities.
        hours: hours with figures.
        energy_kwh: their IT energy.
        shares: of this energy by quality of its intensity; None without energy.
        milestones_passed: of the ages 48 h, 7, 30 and 90 days, how many the day has passed.
        milestones_checked: how many it had passed when every hour was last asked about; None: nobody is to be asked.
        waiting: hours that newer vintages overtook, so that `reprice` would look at them.
        others: hours priced under another configuration, which only `reprice --since` restates.
        revisions: how often its hours were rewritten.
    """

    day: date
    zones: str
    hours: int
    energy_kwh: float
    shares: Mapping[str, float | None]
    milestones_passed: int
    milestones_checked: int | None
    last_asked_utc: datetime | None
    waiting: int
    others: int
    revisions: int

    @property
    def is_settled(self) -> bool:
        """No run changes it by itself any more."""
        if self.milestones_checked is None:
            return not self.waiting and self.milestones_passed >= FOLDED
        return not self.waiting and self.milestones_checked == len(MILESTONES)

    def line(self) -> str:
        """One line for people."""
        shares = [f"{name} {share:.0%}" for name, share in self.shares.items() if share]
        checked = "nobody to ask" if self.milestones_checked is None else f"{self.milestones_checked} checked"
        counts = (
            (self.waiting, "h wait for a reprice"),
            (self.others, "h priced with other settings"),
            (self.revisions, "revisions"),
        )
        parts = [
            f"{self.day} {self.zones} {self.hours:>2} h {'settled' if self.is_settled else 'open'}",
            f"{self.milestones_passed} of {len(MILESTONES)} ages passed, {checked}",
            ", ".join(shares) or "no energy",
            *(f"{count:,} {what}" for count, what in counts if count),
        ]
        return "; ".join(parts)


@dataclass(frozen=True)
class Finality:
    """How final the figures of one cluster are: its days in order."""

    cluster: str
    days: tuple[Day, ...]

    @property
    def settled_until(self) -> date | None:
        """The last day up to which nothing is open."""
        return max((day.day for day in takewhile(lambda day: day.is_settled, self.days)), default=None)

    @property
    def days_open(self) -> int:
        """Days with an hour that may still change."""
        return sum(not day.is_settled for day in self.days)

    def lines(self) -> Iterator[str]:
        """One a day, then the verdict."""
        yield from (f"{self.cluster} {day.line()}" for day in self.days)
        until = self.settled_until
        done = "no figures" if not self.days else "nothing is settled" if until is None else f"settled up to {until}"
        yield f"{self.cluster}: {done}; {self.days_open:,} days still open"

    def to_document(self) -> dict[str, object]:
        """The same for machines."""
        days = [asdict(day) | {"settled": day.is_settled} for day in self.days]
        return {"cluster": self.cluster, "settled_until": self.settled_until, "open": self.days_open, "days": days}


def settled(job: Job, clusters: Sequence[str], since: datetime | None) -> list[Finality]:
    """How final the stored figures of the clusters are; asks nobody, writes nothing.

    Args:
        job: what the command was given.
        clusters: whose.
        since: leaves out days that end before this moment.
    """
    first = date.min if since is None else since.astimezone(UTC).date()
    rows = [row for row in run_query(job.warehouse().root, shipped_queries()[QUERY]).to_pylist() if row["day"] >= first]
    found = []
    for name in clusters:
        site = open_site(name, job.settings, job.env, job.clock)
        waiting, others = _due(job, site)
        of_cluster = [row for row in rows if row["cluster"] == name]
        found.append(Finality(name, tuple(_day(row, site, waiting, others, job.clock.now()) for row in of_cluster)))
    return found


def to_json(found: Sequence[Finality]) -> str:
    """All clusters, one line."""
    return json.dumps([one.to_document() for one in found], default=str)


def _due(job: Job, site: Site) -> tuple[Counter[date], Counter[date]]:
    """Hours that `reprice` would look at, and those that only `reprice --since` would, by day."""
    warehouse, now = job.warehouse(), job.clock.now()
    known = priced_hours(warehouse, site.name)
    asks = (site.prices, warehouse, QUERY, now, True)  # a dry run: files are read, nothing is written
    fresh = Fresh(Refresh(*asks).files([hour.hour_utc for hour in known]), PueRefresh(*asks).file())
    waiting = Counter(hour.hour_utc.date() for hour in settling(site, warehouse, known, fresh, now))
    return waiting, Counter(hour.hour_utc.date() for hour in known if hour.price_digest != site.prices.digest)


def _day(row: Mapping[str, Any], site: Site, waiting: Counter[date], others: Counter[date], now: datetime) -> Day:
    day, providers = row["day"], set((row["providers"] or "").split(", "))
    last_hour = datetime(day.year, day.month, day.day, tzinfo=UTC) + 23 * HOUR
    is_asked = bool(site.prices.web) and not row["is_pruned"] and not providers <= set(site.prices.files)
    return Day(
        day=day,
        zones=row["zones"] or "(no zone)",
        hours=row["hours"],
        energy_kwh=row["energy_kwh"],
        shares={name: row[f"{name}_share"] for name in SHARES},
        milestones_passed=milestone(last_hour, now),
        milestones_checked=row["milestones_checked"] if is_asked else None,
        last_asked_utc=row["last_asked_utc"],
        waiting=waiting[day],
        others=others[day],
        revisions=row["revisions"],
    )
