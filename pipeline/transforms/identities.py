"""Who used energy, column by column: names as they were in each hour, and the owners that were known in it."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.samples import Int64s
from pipeline.transforms.folded import Consumer, Folded, Name
from pipeline.transforms.holders import SPLITS, WHOLE
from pipeline.transforms.owners import Owner, Owners, alike
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window

NAMELESS: Name = (None, None)


def who(
    folded: Folded, window: Window, owners: Sequence[Owners], consumer: Int64s, hour: Int64s
) -> dict[str, "pa.Array[Any]"]:
    """The columns that say whose rows of consumers in hours are, null where it does not apply.

    A guest, and what the meter itself calls system, is no pod.
    """
    everyone = folded.consumers
    is_pod = np.array([_fixed(one) is None for one in everyone], dtype=np.bool_)[consumer]
    named = folded.names(window.start_ms, window.hour_count)
    name = np.full(len(consumer), -1, dtype=np.int64)
    name[is_pod] = named.number[consumer[is_pod], hour[is_pod]]
    pods = np.where(is_pod, consumer, -1)
    return {
        "kind": texts([one.kind for one in everyone], consumer),
        "namespace": texts([namespace for namespace, _ in named.known], name),
        "pod": texts([pod for _, pod in named.known], name),
        "pod_uid": texts([one.uid for one in everyone], pods),
        "container": texts([one.container for one in everyone], pods),
        **_owned(folded, window, owners, consumer, hour, name, [*named.known, NAMELESS]),
    }


def _owned(
    folded: Folded, window: Window, owners: Sequence[Owners], consumer: Int64s, hour: Int64s, name: Int64s,
    names: Sequence[Name],
) -> dict[str, "pa.Array[Any]"]:  # fmt: skip
    """Their workloads, looked up once for all rows of which the same is known; `name` -1 is the last of `names`."""
    everyone, splits = folded.consumers, _splits(folded, window)
    fixed = _numbered([None, *map(_fixed, everyone)])[consumer + 1]
    known = alike(owners, hour, [one.uid for one in everyone], consumer, names, name % len(names))
    known[fixed > 0] = 0  # of these it is never asked
    split = splits[consumer, hour]
    number = (known * (fixed.max(initial=0) + 1) + fixed) * len(SPLITS) + split
    _, first, place = np.unique(number, return_index=True, return_inverse=True)
    found = [
        _owner(everyone[c], owners[h], names[n], SPLITS[s])
        for c, h, n, s in zip(*(column[first].tolist() for column in (consumer, hour, name, split)), strict=True)
    ]
    columns = zip(*found, strict=True) if found else ((),) * len(Owner._fields)
    return {
        column: texts(values, place)
        for column, values in zip(("workload_kind", "workload", "owner_source"), columns, strict=True)
    }


def _fixed(consumer: Consumer) -> tuple[str | None, str] | None:
    """The workload of a consumer that is no pod."""
    if consumer.workload is None and consumer.kind != "system":
        return None
    return consumer.workload_kind, consumer.workload or consumer.uid


def _owner(consumer: Consumer, owners: Owners, name: Name, split: str) -> Owner:
    fixed = _fixed(consumer)
    if fixed is not None:
        return Owner(*fixed, "meter")
    owner = owners.of(consumer.uid, *name)
    return owner if split == SPLITS[WHOLE] else owner._replace(source=f"{owner.source}:{split}")


def _splits(folded: Folded, window: Window) -> Int64s:
    """How shared energy was found, as positions in `SPLITS`; shape (consumers, hours)."""
    splits = np.zeros((len(folded.consumers), window.hour_count), dtype=np.int64)
    for index in range(window.hour_count):
        for consumer, how in folded.splits(window.start_ms + index * MS_PER_HOUR).items():
            splits[consumer, index] = SPLITS.index(how)
    return splits


def _numbered(values: Iterable[Hashable]) -> Int64s:
    """A number for each value, equal for equal ones."""
    number: dict[Hashable, int] = {}
    return np.array([number.setdefault(value, len(number)) for value in values], dtype=np.int64)


def texts(values: Sequence[str | None], position: Int64s) -> "pa.Array[Any]":
    """Text by its position, null where that is -1."""
    return pa.array(values, pa.string()).take(pa.array(position, pa.int64(), mask=position < 0))
