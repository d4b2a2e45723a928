"""How the hours of a cluster stand in one store: what `hours` remembers of every attempt to publish them."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pipeline.sinks.views import open_views

QUERY = """
    select hour_utc, unnest(arg_max({state: state, revision: revision, samples: samples, reason: reason}, written_utc)),
        min(written_utc) as first_utc, max(written_utc) filter (state = 'yes') as published_utc
    from stored.hours where cluster = $cluster and store = $store group by hour_utc"""


class Told(NamedTuple):
    """What a row about one hour and store says.

    Attributes:
        state: `yes`, `no`, `beyond_horizon`.
        revision: the hour's revision that it is about.
        samples: what the hour should have had there.
        reason: why not `yes`; of `yes`, what was not worth writing.
    """

    state: str
    revision: int | None
    samples: int | None
    reason: str | None

    def shows(self, revision: int) -> bool:
        """Whether the store holds the hour at that revision."""
        return (self.state, self.revision) == ("yes", revision)


@dataclass(frozen=True)
class Standing:
    """One hour in one store.

    Attributes:
        newest: its newest row.
        first_utc: when its oldest row was written.
        published_utc: when its newest `yes` was written; null without one.
    """

    newest: Told
    first_utc: datetime
    published_utc: datetime | None


def standings(root: Path, cluster: str, store: str) -> dict[datetime, Standing]:
    """Hour to standing, for every hour that has a row about that store in the warehouse at `root`."""
    with open_views(root, QUERY) as connection:
        rows = connection.sql(QUERY, params={"cluster": cluster, "store": store}).to_arrow_table().to_pylist()
    return {
        row["hour_utc"]: Standing(Told(*(row[n] for n in Told._fields)), row["first_utc"], row["published_utc"])
        for row in rows
    }
