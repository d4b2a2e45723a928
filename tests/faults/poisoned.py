"""The small fleet many times in one Prometheus, told apart by the label `variant`: each time with other poison."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.demo.fleet import Fleet
from pipeline.demo.series import METRIC
from pipeline.samples import Block, Floats

NASTY = (
    "a'b; drop table emissions; --", 'he said "no"', "../../../../etc/passwd", "x=1/date=2026-01-01", "line\nbreak",
    "tab\tand\rreturn", "ünïcödé ☃ \U0001d54f", "\u202eright to left", "=cmd|' /C calc'!A0", "+1", "@SUM(A1)", "a,b;c",
    '{a=~".*"}', "$selector", "%s %n {0}", "\\", "a" * 4096, "(system)", "(idle)", "(unknown)", "(other)", "null",
    "<script>alert(1)</script>", " lead and trail ", "*?[!x]", "NaN", "\x01\x7f", "#", ".", "..",
)  # fmt: skip
ROLES = {
    "node": ("node", "node_name"),
    "namespace": ("namespace", "pod_namespace"),
    "pod": ("pod", "pod_name"),
    "owner": ("owner_name", "created_by_name", "job_name", "replicaset"),
}
NOBODY = "<none>"
RENAMINGS = 6
STRIDE = 5  # so many texts further from one renaming to the next

Poison = Callable[[Floats], Floats]
Renaming = Mapping[str, Mapping[str, str]]


def _at(place: int, value: float) -> Poison:
    def spike(values: Floats) -> Floats:
        poisoned = values.copy()
        poisoned[len(values) * place // 100] = value
        return poisoned

    return spike


def _from(place: int, more: float) -> Poison:
    def jump(values: Floats) -> Floats:
        return values + np.where(np.arange(len(values)) >= len(values) * place // 100, more, 0.0)

    return jump


POISONS: Mapping[str, Poison] = {
    "nan": _at(40, np.nan),
    "inf": _at(40, np.inf),
    "minus-inf": _at(40, -np.inf),
    "negative": _at(40, -1e6),
    "spike-1e18": _at(40, 1e18),
    "jump-1e18": _from(40, 1e18),
    "jump-2e64": _from(40, 2.0**64),
}
TARGETS = {
    "active": "kepler_node_cpu_active_joules_total",
    "raw": "kepler_node_cpu_joules_total",
    "pod": "kepler_pod_cpu_joules_total",
}
SICK_NODE = "node-2"


def renaming(fleet: Fleet, number: int) -> Renaming:
    """By role, what each name of the fleet becomes: no two the same."""
    renamed: dict[str, dict[str, str]] = {}
    for shift, (role, labels) in enumerate(ROLES.items()):
        names = {name for block in fleet.blocks() for label in labels for name in _texts(block, label)} - {None, NOBODY}
        renamed[role] = {
            str(name): NASTY[(number * STRIDE + shift + place) % len(NASTY)]
            for place, name in enumerate(sorted(names, key=str))
        }
    return renamed


def _texts(block: Block, label: str) -> list[str | None]:
    return block.labels[label].to_pylist() if label in block.labels.column_names else []


@dataclass(frozen=True)
class Variants:
    """The fleet once for each variant; implements `openmetrics.HasBlocks`."""

    fleet: Fleet

    def blocks(self) -> list[Block]:
        """All samples of all variants, one block a metric."""
        return [_joined([self._variant(block, name) for name in variants()]) for block in self.fleet.blocks()]

    def _variant(self, block: Block, name: str) -> Block:
        kind, _, rest = name.partition("-")
        if kind == "renamed":
            block = _renamed(block, renaming(self.fleet, int(rest)))
        elif kind in TARGETS:
            block = _poisoned(block, TARGETS[kind], POISONS[rest])
        elif kind == "nameless":
            block = _without(block, ("pod_name", "pod_namespace"))
        column = pa.array([name] * block.labels.num_rows, pa.string())
        return Block(block.labels.append_column("variant", column), block.offsets, block.stamps_ms, block.values)


def variants() -> list[str]:
    """All of them: `clean`, `nameless`, the renamings, and each poison in each target."""
    poisons = [f"{target}-{poison}" for target in TARGETS for poison in POISONS]
    return ["clean", "nameless", *(f"renamed-{number}" for number in range(RENAMINGS)), *poisons]


def _renamed(block: Block, renamed: Renaming) -> Block:
    labels = block.labels
    for role, names in ROLES.items():
        for name in set(names) & set(labels.column_names):
            texts = [renamed[role].get(text or "", text) for text in _texts(block, name)]
            labels = labels.set_column(labels.column_names.index(name), name, pa.array(texts, pa.string()))
    return Block(labels, block.offsets, block.stamps_ms, block.values)


def _without(block: Block, names: Sequence[str]) -> Block:
    kept = [name for name in block.labels.column_names if name not in names]
    return Block(block.labels.select(kept), block.offsets, block.stamps_ms, block.values)


def _poisoned(block: Block, metric: str, poison: Poison) -> Block:
    """The longest series of that metric, node and zone `package` poisoned."""
    rows = block.labels.to_pylist()
    sick = [
        n
        for n, row in enumerate(rows)
        if row[METRIC] == metric and row["node_name"] == SICK_NODE and row["zone"] == "package"
    ]
    if not sick:
        return block
    row = max(sick, key=lambda n: block.offsets[n + 1] - block.offsets[n])
    own, values = slice(block.offsets[row], block.offsets[row + 1]), block.values.copy()
    values[own] = poison(values[own])
    return Block(block.labels, block.offsets, block.stamps_ms, values)


def _joined(blocks: Sequence[Block]) -> Block:
    sizes = np.concatenate([np.diff(block.offsets) for block in blocks])
    return Block(
        pa.concat_tables([block.labels for block in blocks], promote_options="default"),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([block.stamps_ms for block in blocks]),
        np.concatenate([block.values for block in blocks]),
    )
