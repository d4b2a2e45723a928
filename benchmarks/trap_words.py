"""What the product says beside a line's figures: holes, quarantine, estimates, notes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.checks import HOLE_RATIO
from pipeline.transforms.energy import Energy

MARKS = {"resets": "restarts", "wraps": "wraps"}


@dataclass(frozen=True, slots=True)
class Words:
    """What was said of the node-hours of a line.

    Attributes:
        expected: hours in which a node was there, added over nodes and components; `holes`: those not measured.
        joules: what was metered; `bridged` and `tails`: what of it was filled in at restarts or estimated.
        marks: restarts and wraps of registers seen.
        refused: rows of quarantine, by check.
        notes: findings about the samples, by name: in how many hours.
    """

    expected: float = 0.0
    holes: float = 0.0
    joules: float = 0.0
    bridged: float = 0.0
    tails: float = 0.0
    marks: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Words") -> "Words":
        return Words(
            self.expected + other.expected, self.holes + other.holes, self.joules + other.joules,
            self.bridged + other.bridged, self.tails + other.tails, self.marks + other.marks,
            self.refused + other.refused, self.notes + other.notes,
        )  # fmt: skip

    @property
    def text(self) -> str:
        """In one cell of a table."""
        shares = (
            ("hole: {:.1f} % of the time", self.holes, self.expected),
            ("bridged: {:.1f} %", self.bridged, self.joules),
            ("estimated tails: {:.1f} %", self.tails, self.joules),
        )
        parts = [said.format(part / whole * 100) for said, part, whole in shares if whole and part / whole >= 5e-4]
        parts += [f"{count} {name}" for name, count in sorted(self.marks.items()) if count]
        parts += [f"quarantine: {count} x `{check}`" for check, count in sorted(self.refused.items())]
        parts += [f"note: `{name}`" for name in sorted(self.notes)]
        return "; ".join(parts)


def words(energy: Sequence[Energy], nodes: set[str], names: Mapping[str, str]) -> Words:
    """What the folds of one meter say of some nodes.

    Args:
        energy: of every hour.
        nodes: those of the line.
        names: nodes by what the meter calls them.
    """
    said = Words()
    for one in energy:
        metered = _of(one.nodes, nodes, names)
        said += Words(
            expected=sum(row["expected_ratio"] for row in metered),
            holes=sum(_hole(row["expected_ratio"] - row["coverage_ratio"]) for row in metered),
            joules=sum(row["metered_joules"] or 0.0 for row in metered),
            bridged=sum(row["bridged_joules"] or 0.0 for row in metered),
            tails=sum(row["tail_joules"] or 0.0 for row in _of(one.rows, nodes, names)),
            marks=Counter({called: sum(row[name] for row in metered) for name, called in MARKS.items()}),
            refused=Counter(row["check"] for row in _of(one.withheld, nodes, names)),
            notes=Counter(
                fault.name for fault in one.faults if not fault.passed and _about(fault.detail, names, nodes)
            ),
        )
    return said


def _of(table: pa.Table, nodes: set[str], names: Mapping[str, str]) -> list[dict[str, Any]]:
    return [row for row in table.to_pylist() if names.get(row["node"], row["node"]) in nodes]


def _hole(missing: float) -> float:
    return missing if missing > HOLE_RATIO else 0.0


def _about(detail: str, names: Mapping[str, str], nodes: Iterable[str]) -> bool:
    """Whether a finding names one of the nodes."""
    wanted = {*nodes}
    return any(called in detail for called, node in names.items() if node in wanted)
