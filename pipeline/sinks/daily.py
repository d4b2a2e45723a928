"""Table `emissions_daily`: a day of `emissions` summed over its nodes, pods and hours, never anything but that sum.

Its file is written right after the commit that it sums and carries that commit's digest. A file whose digest is not
that of the emissions beside it (a crash in between, a day of an older release) is not shown: the view sums the rows of
such a day instead, and the next run that touches the day writes the file.
"""

import math
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.equality import key_ids
from pipeline.samples import Floats, Int64s
from pipeline.tables import EMISSIONS_DAILY, EMISSIONS_DAILY_KEY, conform
from pipeline.units import MS_PER_HOUR

DIGEST_KEY = "carbon_etl.source_digest"
DIGEST_LETTERS = 12  # as many as DuckDB compares in one go
GROUP = EMISSIONS_DAILY_KEY[1:]
HOURS_OF_DAY = 24
SUMMED = {
    "energy_joules": "sum(energy_joules)",
    "facility_energy_kwh": "sum(facility_energy_kwh)",
    "emissions_gco2e": "sum(emissions_gco2e)",
    "unpriced_energy_joules": "coalesce(sum(energy_joules) filter (emissions_gco2e is null), 0)",
    "hours": "count(distinct hour_utc)",
    "unpriced_hours": "count(distinct hour_utc) filter (emissions_gco2e is null)",
}
# What is stale is told by footers alone, and is mostly nothing: to leave it out costs no row anything then. Both
# branches must see one list, or a day whose file is replaced meanwhile is shown twice or not at all: DuckDB works out
# once what a plan has twice. `as materialized` would say so, but then every column of every file is read.
DAILY_VIEW = f"""
    with stale as not materialized (
        select cluster, date, source.source_digest
        from stored.doubtful_footers_of_emissions_daily as source
            full join stored.emissions_daily_digests as held using (cluster, date)
        where source.source_digest is distinct from held.source_digest
    )
    from stored.certain_emissions_daily
    union all by name
    from stored.doubtful_emissions_daily anti join stale using (cluster, date)
    union all by name
    select make_timestamptz(epoch_us(date::timestamp)) as date_utc, {", ".join(GROUP)},
        {", ".join(f"{told} as {name}" for name, told in SUMMED.items())},
        any_value(source_digest) as source_digest, date
    from stored.doubtful_emissions join stale using (cluster, date)
    group by date, {", ".join(GROUP)}"""


def digest(footer: str) -> str:
    """Names a state of a day: the digest of the commits in the footer of its emissions."""
    return sha256(footer.encode()).hexdigest()[:DIGEST_LETTERS]


def daily_rows(emissions: pa.Table, source_digest: str) -> pa.Table:
    """EMISSIONS_DAILY rows of one day, in key order.

    Args:
        emissions: all EMISSIONS rows of one (cluster, day).
        source_digest: of the state that these rows are.
    """
    if not emissions.num_rows:
        return EMISSIONS_DAILY.empty_table()
    (ids,) = key_ids([emissions], GROUP)
    _, first = np.unique(ids, return_index=True)
    count = len(first)
    order = np.argsort(ids, kind="stable")
    edges = np.searchsorted(ids[order], np.arange(count + 1)).tolist()
    joules, kwh, grams = (
        emissions.column(name).to_numpy()[order] for name in ("energy_joules", "facility_energy_kwh", "emissions_gco2e")
    )
    stamps_ms = emissions.column("hour_utc").cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64()).to_numpy()
    hours, groups, unpriced = stamps_ms[order] // MS_PER_HOUR, ids[order], np.isnan(grams)
    columns: dict[str, Any] = {
        "date_utc": pc.floor_temporal(emissions.column("hour_utc").take(first), unit="day"),
        "energy_joules": _sums(joules, edges),
        "facility_energy_kwh": _sums(kwh, edges),
        "emissions_gco2e": _sums(grams, edges),
        "unpriced_energy_joules": _sums(np.where(unpriced, joules, 0.0), edges),
        "hours": _distinct(groups, hours, count),
        "unpriced_hours": _distinct(groups[unpriced], hours[unpriced], count),
        "source_digest": pa.array([source_digest] * count, pa.string()),
    }
    rows = emissions.select(GROUP).take(first)
    for name, column in columns.items():
        rows = rows.append_column(name, column)
    return conform(rows, EMISSIONS_DAILY).sort_by([(name, "ascending") for name in EMISSIONS_DAILY_KEY])


def _sums(values: Floats, edges: list[int]) -> "pa.Array[Any]":
    """The sum of each group's numbers, null where it has none: exactly rounded, so that no order of rows changes it."""
    listed, has_nulls = values.tolist(), bool(np.isnan(values).any())
    groups = (listed[start:end] for start, end in pairwise(edges))
    if not has_nulls:
        return pa.array([math.fsum(group) for group in groups], pa.float64())
    known = ([value for value in group if not math.isnan(value)] for group in groups)
    return pa.array([math.fsum(group) if group else None for group in known], pa.float64())


def _distinct(ids: Int64s, hours: Int64s, count: int) -> "pa.Array[Any]":
    """How many hours of a day each group has."""
    pairs = np.unique(ids * HOURS_OF_DAY + hours % HOURS_OF_DAY)
    return pa.array(np.bincount(pairs // HOURS_OF_DAY, minlength=count))
