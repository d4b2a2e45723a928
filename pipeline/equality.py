"""What *equal* means for stored figures (design, section 2), and which rows of two tables belong together.

Two runs over the same samples need not give the same bits, so numbers are equal within a tolerance and everything else
exactly. Nulls equal nulls, and never a number. Pure: tables in, row numbers out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RELATIVE_TOLERANCE = 1e-9
ABSOLUTE_TOLERANCE = 1e-12
MAX_CODE = 1 << 62  # of what is encoded in 64 bits


def close(left: Floats, right: Floats) -> Bools:
    """Where `|a - b| <= 1e-9 max(|a|, |b|) + 1e-12`; NaN, the array form of null, equals NaN only."""
    scale = np.maximum(np.abs(left), np.abs(right))
    near = np.abs(left - right) <= RELATIVE_TOLERANCE * scale + ABSOLUTE_TOLERANCE
    return np.asarray(near | (left == right) | (np.isnan(left) & np.isnan(right)), dtype=np.bool_)


def key_ids(tables: Sequence[pa.Table], key: Sequence[str]) -> list[Int64s]:
    """A number per row of each table, without gaps, the same for rows of the same `key` columns (nulls equal)."""
    ids, count = np.zeros(sum(table.num_rows for table in tables), dtype=np.int64), 1
    for name in key:
        codes, width = _codes(pa.concat_arrays([chunk for table in tables for chunk in table.column(name).chunks]))
        if count * width >= MAX_CODE:
            ids, count = _codes(pa.array(ids))
        ids, count = ids * width + codes, count * width
    ids, _ = _codes(pa.array(ids))
    edges = np.cumsum([table.num_rows for table in tables])[:-1]
    return list(np.split(ids, edges))


def _codes(values: "pa.Array[Any]") -> tuple[Int64s, int]:
    """Each value as a number, in the order in which they first come, null as one of them; and how many there are."""
    encoded: Any = pc.dictionary_encode(values, null_encoding="encode")
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), len(encoded.dictionary)


@dataclass(frozen=True)
class Matching:
    """Row numbers: `old[i]` of the old table and `new[i]` of the new one share a key; the rest stand alone."""

    old: Int64s
    new: Int64s
    vanished: Int64s
    appeared: Int64s


def match_rows(old: pa.Table, new: pa.Table, key: Sequence[str]) -> Matching:
    """Pair the rows of two tables, each unique in `key`."""
    if not old.num_rows or not new.num_rows:
        nothing = np.zeros(0, dtype=np.int64)
        return Matching(nothing, nothing, np.arange(old.num_rows), np.arange(new.num_rows))
    old_ids, new_ids = key_ids([old, new], key)
    place = np.full(max(old_ids.max(), new_ids.max()) + 1, -1, dtype=np.int64)
    place[old_ids] = np.arange(old.num_rows)
    known = place[new_ids]
    new_rows, appeared = np.flatnonzero(known >= 0), np.flatnonzero(known < 0)
    old_rows = known[new_rows]
    stays = np.zeros(old.num_rows, dtype=np.bool_)
    stays[old_rows] = True
    return Matching(old_rows, new_rows, np.flatnonzero(~stays), appeared)


def rows_at(table: pa.Table, rows: Int64s) -> pa.Table:
    """The rows of those numbers, in that order; the table itself, uncopied, where they are all of its own in order."""
    if len(rows) == table.num_rows and bool((rows == np.arange(table.num_rows)).all()):
        return table
    return table.take(rows)


def changed(old: pa.Table, new: pa.Table, columns: Sequence[str]) -> Bools:
    """Which rows differ in any of `columns`; both tables have the same rows in the same order."""
    differs = np.zeros(old.num_rows, dtype=np.bool_)
    for name in columns:
        before, after = old.column(name).combine_chunks(), new.column(name).combine_chunks()
        if pa.types.is_list(before.type):
            differs |= ~_lists_close(before, after)
        elif pa.types.is_floating(before.type):
            differs |= ~close(_floats(before), _floats(after)) | (_nulls(before) != _nulls(after))
        else:
            unequal: Any = pc.not_equal(before, after)
            unequal = unequal.fill_null(False).to_numpy(zero_copy_only=False)  # noqa: FBT003 # what null becomes
            differs |= unequal | (_nulls(before) != _nulls(after))
    return differs


def differing_hours(old: pa.Table, new: pa.Table, key: Sequence[str], ignored: Sequence[str]) -> set[datetime]:
    """The `hour_utc` values whose rows are not equal in the two tables, `ignored` columns aside."""
    matching = match_rows(old, new, key)
    columns = [name for name in old.column_names if name not in key and name not in ignored]
    differs = changed(rows_at(old, matching.old), rows_at(new, matching.new), columns)
    hours: set[Any] = set()
    for table, rows in ((old, matching.old[differs]), (old, matching.vanished), (new, matching.appeared)):
        hours.update(pc.unique(table.column("hour_utc").take(rows)).to_pylist())
    return hours


def _lists_close(before: "pa.Array[Any]", after: "pa.Array[Any]") -> Bools:
    """Row by row: both null, or of one length with equal numbers."""
    before_lengths = pc.fill_null(pc.list_value_length(before), -1).to_numpy(zero_copy_only=False)
    after_lengths = pc.fill_null(pc.list_value_length(after), -1).to_numpy(zero_copy_only=False)
    equal = np.asarray(before_lengths == after_lengths, dtype=np.bool_)
    filled = np.flatnonzero(equal & (before_lengths > 0))
    owners = np.repeat(filled, before_lengths[filled])
    left = _floats(pc.list_flatten(before.take(filled)))
    right = _floats(pc.list_flatten(after.take(filled)))
    equal[owners[~close(left, right)]] = False
    return equal


def _floats(values: "pa.Array[Any]") -> Floats:
    """As float64, null as NaN."""
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _nulls(values: "pa.Array[Any]") -> Bools:
    return np.asarray(pc.is_null(values).to_numpy(zero_copy_only=False), dtype=np.bool_)
