"""Which files a question reads, found out when its views are made: of months, of days, and of days in doubt.

Of a day whose `node_energy` and `emissions_daily` carry the digest of the commits beside them every row counts. Which
rows of the other days do, a question has to find out. Rows of append-only tables count wherever they lie.
"""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from pipeline.sinks.months import clusters, day_of, days_in_doubt, months_of, place_of, standing
from pipeline.tables import APPEND_ONLY_TABLES


class Listing(NamedTuple):
    """Files of a table.

    Attributes:
        months: those that hold several days, and what their paths tell as columns.
        days: of the other days.
        doubtful: of days in doubt.
    """

    months: list[str]
    days: list[str]
    doubtful: list[str]


def listings(root: Path, tables: Collection[str]) -> dict[str, Listing]:
    """The files of some tables as they are now."""
    found = {table: Listing([], [], []) for table in tables}
    places = [place_of(table) for table in tables if table in APPEND_ONLY_TABLES]
    if len(places) < len(found):
        places += clusters(root)
    for place in places:
        for month in months_of(root, place):
            folder, others = standing(root, month)
            doubtful = days_in_doubt(root, others)
            for table in found.keys() & {"emissions", *month.tables}:
                if folder is not None and table in month.tables:
                    found[table].months.append(f"{folder}/{table}.parquet")
                for path in others.paths(table):
                    of_days = found[table].doubtful if day_of(path) in doubtful else found[table].days
                    of_days.append(f"{root}/{path}")
    return found
