"""Which hours of a cluster a store has to be looked at for, and on what occasion.

An hour that was published before is corrected in the first run after a milestone, when the grid's figures have settled
further, or when a person asks; in between it is pending, so that a store holds a handful of entries and not one a run.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from pipeline.errors import RemoteWriteError
from pipeline.sinks.differences import Occasion, stamp_ms
from pipeline.sinks.standings import Standing
from pipeline.sinks.stores import Store
from pipeline.transforms.settling import MILESTONES, milestone
from pipeline.window import HOUR, to_ms


@dataclass(frozen=True)
class Asked:
    """What a person asked for.

    Attributes:
        since: the hours from here on are corrected now, however small the difference; none where it is null.
        look_again: of those, also the ones that a store shows: what it holds may have changed by another hand.
    """

    since: datetime | None
    look_again: bool

    def names(self, hour: datetime) -> bool:
        """Whether an hour is one of them."""
        return self.since is not None and hour >= self.since


def hours_to_publish(
    store: Store,
    revisions: Mapping[datetime, int],
    known: Mapping[datetime, Standing],
    asked: Asked,
    strays: Collection[datetime],
) -> list[datetime]:
    """The hours to be looked at, oldest first.

    Args:
        store: the receiver.
        revisions: every hour that has figures, and the revision it is at.
        known: how hours stand in the store.
        asked: by a person.
        strays: hours that come to something else in the store, whatever is known of them.
    """
    oldest_ms = _oldest_ms(store)
    return sorted(
        hour
        for hour, revision in revisions.items()
        if hour in strays
        or (asked.look_again and asked.names(hour))
        or _is_due(hour, revision, known.get(hour), oldest_ms, asked=asked.names(hour))
    )


def believed_hours(
    store: Store, revisions: Mapping[datetime, int], known: Mapping[datetime, Standing]
) -> list[datetime]:
    """The hours within its reach that a store is believed to show exactly."""
    oldest_ms = _oldest_ms(store)
    return [
        hour
        for hour, revision in revisions.items()
        if hour in known
        and known[hour].newest.shows(revision)
        and known[hour].newest.reason is None
        and stamp_ms(hour) >= oldest_ms
    ]


def _is_due(hour: datetime, revision: int, standing: Standing | None, oldest_ms: int, *, asked: bool) -> bool:
    """Whether a store has to be looked at: it does not show the hour, or is asked for what was not worth writing.

    An hour noted as beyond the horizon is due again only when the horizon has grown to reach it.
    """
    if standing is None or standing.newest.revision != revision or standing.newest.state == "no":
        return True
    if standing.newest.state == "beyond_horizon":
        return stamp_ms(hour) >= oldest_ms
    return asked and standing.newest.reason is not None


def _oldest_ms(store: Store) -> int:
    """The oldest stamp that the store takes, by blocks where it may; the present where it cannot be asked."""
    now = store.clock.now()
    try:
        horizon = store.horizon()
    except RemoteWriteError:
        return to_ms(now)  # publishing will say why
    if store.settings.publish == "samples":
        return to_ms(now - horizon.length)
    return 0 if horizon.kept is None else to_ms(now - horizon.kept)


def occasion(hour: datetime, standing: Standing | None, now: datetime, asked: Asked) -> Occasion:
    """Why an hour is published now.

    What a store held before any row tells of it, after a crash or by another hand, waits for a milestone, too.
    """
    if asked.names(hour):
        return "request"
    if standing is None:
        return "first"
    if milestone(hour, standing.published_utc or standing.first_utc) < milestone(hour, now):
        return "milestone"
    return "first" if standing.published_utc is None else "between"


def correction_utc(hour: datetime, now: datetime) -> datetime | None:
    """When a pending hour will be corrected; null when its last milestone has passed."""
    return next((due for age in MILESTONES if (due := hour + HOUR + age) > now), None)
