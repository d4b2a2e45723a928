"""The page of results: which fault points there are, and how each kind of them ended."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

TOLD = "fault"

HEAD = """\
# Fault points

Written by `make test-faults`. A point counts as passed when the next undisturbed run ends with the rows and the samples
of a run that was never disturbed, to 1e-9, and no reader (DuckDB on the views, pandas on the files) met an error or
half a day, neither beside the runs nor between the death and the run after it. With a poisoned database it is that
names change nothing but names, and numbers nothing outside their node. A process killed before an effect and one killed
after it are one point where the effect leaves nothing behind: a lock, a question to a store, `fsync`.
"""


class Point(NamedTuple):
    """One fault point.

    Attributes:
        family: of faults.
        scene: what was disturbed.
        fault: what happened.
        passed: how it ended.
        happened: whether it did: a run may end before.
        reads: how often readers looked.
    """

    family: str
    scene: str
    fault: str
    passed: bool
    happened: bool = True
    reads: int = 0


def tell(record: Callable[[str, object], None], point: Point) -> None:
    """Hand a point to the page: `record` is pytest's `record_property`."""
    record(TOLD, list(point))


def page(points: Sequence[Point]) -> str:
    """All points as Markdown."""
    lines = [HEAD, _sum(points), ""]
    for family in dict.fromkeys(point.family for point in points):
        own = [point for point in points if point.family == family]
        lines += [f"## {family}", "", _sum(own), "", *_table(own), ""]
    return "\n".join(lines)


def _sum(points: Sequence[Point]) -> str:
    happened = [point for point in points if point.happened]
    passed, reads = sum(point.passed for point in happened), sum(point.reads for point in points)
    return f"{len(happened):,} fault points, {passed:,} passed; readers looked {reads:,} times."


def _table(points: Iterable[Point]) -> list[str]:
    counts, passed = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for point in points:
        if point.happened:
            counts[point.scene, point.fault] += 1
            passed[point.scene, point.fault] += point.passed
    rows = [
        f"| {scene} | {fault} | {count} | {passed[scene, fault]} |" for (scene, fault), count in sorted(counts.items())
    ]
    return ["| disturbed | fault | points | passed |", "|---|---|---|---|", *rows]
