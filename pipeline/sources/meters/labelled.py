"""Series whose labels are understood: identities and names numbered, so that a counter's series and parts meet."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.samples import Block, Bools, Int64s, Samples

Labels = dict[str, str]
Key = tuple[str | None, ...]
KeyOf = Callable[[Labels], Key | None]

NO_NAMES: Mapping[str, str] = {}
STAMP_SPAN = 1 << 41  # more milliseconds than any extract spans


def understand(
    blocks: Iterable[Block],
    identity: pa.Schema,
    key_of: KeyOf,
    names: Mapping[str, str] = NO_NAMES,
    labels: Sequence[str] | None = None,
) -> Samples:
    """Number identities and names over all blocks.

    Args:
        blocks: in any order.
        identity: columns of a key.
        key_of: a series' key; None for one that is not meant.
        names: column and label of each name.
        labels: all that `key_of` looks at; None where it looks at any.
    """
    looked_at = None if labels is None else {*labels, *names.values()}
    codes: dict[Key, int] = {}
    name_codes: dict[Key, int] = {}
    parts: list[tuple[NDArray[Any], ...]] = []
    for block in blocks:
        lengths = np.diff(block.offsets)
        rows = rows_of(block.labels, looked_at)
        keys = [key_of(row) for row in rows]
        code = np.array([-1 if key is None else codes.setdefault(key, len(codes)) for key in keys], dtype=np.int64)
        name = [
            -1 if key is None else name_codes.setdefault(tuple(map(row.get, names.values())), len(name_codes))
            for key, row in zip(keys, rows, strict=True)
        ]
        columns = (np.repeat(code, lengths), np.repeat(name, lengths), block.stamps_ms, block.values)
        meant = slice(None) if None not in keys else columns[0] >= 0
        parts.append(tuple(column[meant] for column in columns))
    code_, name_, stamps, values = (
        parts[0][i] if len(parts) == 1 else np.concatenate([p[i] for p in parts] or [np.zeros(0)]) for i in range(4)
    )
    return Samples(
        identity=_rows(codes, identity),
        names=_rows(name_codes, pa.schema([(column, pa.string()) for column in names])),
        code=code_.astype(np.int64, copy=False),
        name=name_.astype(np.int64, copy=False),
        stamp_ms=stamps.astype(np.int64, copy=False),
        value=values.astype(np.float64, copy=False),
    )


def rows_of(labels: pa.Table, wanted: Collection[str] | None = None) -> list[Labels]:
    """The labels of each series that has them; of `wanted` ones only."""
    names = [name for name in labels.column_names if wanted is None or name in wanted]
    if not names:
        return [{} for _ in range(labels.num_rows)]
    columns = [labels[name].to_pylist() for name in names]
    return [{k: v for k, v in zip(names, row, strict=True) if v is not None} for row in zip(*columns, strict=True)]


def _rows(codes: Iterable[Key], schema: pa.Schema) -> pa.Table:
    keys = list(codes)
    columns = [pa.array([key[i] for key in keys], schema.field(i).type) for i in range(len(schema))]
    return pa.Table.from_arrays(columns, schema=schema)


def keys_of(samples: Samples) -> list[Key]:
    """The identities, in the order of their codes."""
    return list(zip(*(column.to_pylist() for column in samples.identity.columns), strict=True))


def sound_stamps(samples: Samples, wanted: set[Key]) -> dict[Key, set[int]]:
    """When each wanted counter showed a number that a fold can use."""
    sound = np.isfinite(samples.value) & (samples.value >= 0)
    code, stamp_ms = samples.code[sound], samples.stamp_ms[sound]
    order = np.argsort(code, kind="stable")
    edges = np.searchsorted(code[order], np.arange(samples.identity.num_rows + 1))
    found: dict[Key, set[int]] = {key: set() for key in wanted}
    for number, key in enumerate(keys_of(samples)):
        if key in wanted:
            found[key] = set(stamp_ms[order[edges[number] : edges[number + 1]]].tolist())
    return found


def without(samples: Samples, unwanted: set[Key]) -> Samples:
    """The samples of all other identities, numbered anew."""
    keys = keys_of(samples)
    kept = [code for code, key in enumerate(keys) if key not in unwanted]
    number = np.full(len(keys) + 1, -1, dtype=np.int64)
    number[kept] = np.arange(len(kept))
    inside = number[samples.code] >= 0
    return _chosen(
        replace(samples, identity=samples.identity.take(pa.array(kept, pa.int64())), code=number[samples.code]), inside
    )


def _chosen(samples: Samples, rows: Bools) -> Samples:
    return replace(
        samples,
        code=samples.code[rows],
        name=samples.name[rows],
        stamp_ms=samples.stamp_ms[rows],
        value=samples.value[rows],
    )


def both(one: Samples, other: Samples) -> Samples:
    """Samples of two sorts of counters without names, whose identities differ."""
    return Samples(
        identity=pa.concat_tables([one.identity, other.identity]),
        names=one.names,
        code=np.concatenate((one.code, other.code + one.identity.num_rows)),
        name=np.zeros(len(one.code) + len(other.code), dtype=np.int64),
        stamp_ms=np.concatenate((one.stamp_ms, other.stamp_ms)),
        value=np.concatenate((one.value, other.value)),
    )


def named_in_same_scrape(samples: Samples, named: Samples) -> Samples:
    """Samples under their own names and the full ones that the identity which theirs begins with shows at that stamp.

    Not under names seen at another time: an hour's figures may not depend on how far an extract reaches. Samples that
    find none have nulls.
    """
    found = named.names.to_pylist()
    full = np.array([all(row.values()) for row in found], dtype=bool)[named.name] if found else named.name >= 0
    code_of = {key: code for code, key in enumerate(keys_of(named))}
    width = named.identity.num_columns
    owner = np.array([code_of.get(key[:width], -1) for key in keys_of(samples)], dtype=np.int64)[samples.code]
    origin = int(samples.stamp_ms.min()) if len(samples.stamp_ms) else 0
    known, wanted = (
        _stamp_keys(named.code[full], named.stamp_ms[full], origin),
        _stamp_keys(owner, samples.stamp_ms, origin),
    )
    order = np.argsort(known, kind="stable")
    name = np.full(len(wanted), len(found), dtype=np.int64)  # the nulls
    if len(known):
        position = np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)
        hit = known[order][position] == wanted
        name[hit] = named.name[full][order][position][hit]
    rows = [*found, dict.fromkeys(named.names.column_names)]
    own = samples.names.to_pylist()
    return replace(
        samples,
        names=pa.Table.from_pylist(
            [one | other for one in own for other in rows],
            pa.schema([*samples.names.schema, *named.names.schema]),
        ),
        name=samples.name * len(rows) + name,
    )


def _stamp_keys(code: Int64s, stamp_ms: Int64s, origin_ms: int) -> Int64s:
    return code * STAMP_SPAN + np.clip(stamp_ms - origin_ms, -1, STAMP_SPAN - 2)
