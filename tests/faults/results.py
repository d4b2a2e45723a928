"""The page of results: which fault points there are, and how each kind of them ended."""

import os
import platform
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import NamedTuple, TypeVar

TOLD, COUNTED = "fault", "deaths"
EVERY = int(os.environ.get("CARBON_ETL_FAULTS_EVERY", "1"))  # of many points alike, only every so manieth
PACKAGES = ("duckdb", "pandas", "pyarrow", "httpx")
KILLED = "Killed before each effect"

HEAD = """\
# Fault points

Written by `make test-faults` when all of its tests have passed. A point counts as passed when the next undisturbed run
ends with the rows and the samples of a run that was never disturbed, to 1e-9, and no reader (DuckDB on the views,
pandas on the files) met an error or half a day: one looks at what each death and each refusal of the disk left, before
the next run, and where it says so one reads all the while. With a poisoned database it is that names change nothing but
names, and numbers nothing outside their node.

Effects are what a run does to its folder and its stores, one by one: a file opened for writing, `fsync`, rename,
removal, a lock, each part of a request that is sent, each answer. A run is killed (SIGKILL) before every one of them,
but deaths between which nothing came about that outlives a process (a lock, a question to a store, `fsync`) are one
point.
"""

T = TypeVar("T")


def some(points: Sequence[T]) -> Sequence[T]:
    """Of many points alike as many as the session has time for: all, or one in `CARBON_ETL_FAULTS_EVERY`."""
    return points[::EVERY]


class Point(NamedTuple):
    """One fault point.

    Attributes:
        family: of faults.
        scene: what was disturbed.
        fault: what happened.
        passed: how it ended.
        happened: whether it did: a run may end before.
        beside: whether a reader read all the while.
    """

    family: str
    scene: str
    fault: str
    passed: bool
    happened: bool = True
    beside: bool = False


class Deaths(NamedTuple):
    """How many effects a scene has, and before how many of them it can die to tell apart."""

    scene: str
    effects: int
    points: int


def tell(record: Callable[[str, object], None], point: Point) -> None:
    """Hand a point to the page: `record` is pytest's `record_property`."""
    record(TOLD, list(point))


def page(points: Iterable[Point], deaths: Iterable[Deaths]) -> str:
    """All points as Markdown, in an order of their own."""
    happened = sorted(point for point in points if point.happened)
    lines = [HEAD, f"{_versions()}\n", f"**{_sum(happened)}**", "", *_families(happened), ""]
    for family in dict.fromkeys(point.family for point in happened):
        own = [point for point in happened if point.family == family]
        counted = _counted(sorted(deaths)) if family == KILLED else []
        lines += [f"## {family}", "", _sum(own), "", *counted, *_table(own), ""]
    return "\n".join(lines)


def _versions() -> str:
    programs = [_program("prometheus", "Prometheus"), _program("victoria-metrics", "VictoriaMetrics")]
    libraries = [f"{package} {version(package)}" for package in PACKAGES]
    return f"With {', '.join([f'Python {platform.python_version()}', *programs, *libraries])}."


def _program(command: str, name: str) -> str:
    """Its name and what version it says it is of; some packages of VictoriaMetrics say none."""
    path = shutil.which(command)
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout if path else ""
    found = re.search(r"\d+\.\d+\.\d+", said)
    return f"{name} {found[0]}" if found else name


def _sum(points: Sequence[Point]) -> str:
    passed, beside = sum(point.passed for point in points), sum(point.beside for point in points)
    read = f"; at {beside:,} of them one read all the while" if beside else ""
    return f"{len(points):,} fault points, {passed:,} passed{read}."


def _families(points: Sequence[Point]) -> list[str]:
    counts, passed = Counter(point.family for point in points), Counter(p.family for p in points if p.passed)
    rows = [f"| {family} | {count} | {passed[family]} |" for family, count in counts.items()]
    return ["| family | points | passed |", "|---|---|---|", *rows]


def _counted(deaths: Sequence[Deaths]) -> list[str]:
    rows = [f"| {scene} | {effects} | {own} |" for scene, effects, own in deaths]
    total = f"| together | {sum(one.effects for one in deaths)} | {sum(one.points for one in deaths)} |"
    return ["| killed | effects | deaths that differ |", "|---|---|---|", *rows, total, ""]


def _table(points: Sequence[Point]) -> list[str]:
    counts = Counter((point.scene, point.fault) for point in points)
    passed = Counter((point.scene, point.fault) for point in points if point.passed)
    rows = [f"| {scene} | {fault} | {count} | {passed[scene, fault]} |" for (scene, fault), count in counts.items()]
    return ["| disturbed | fault | points | passed |", "|---|---|---|---|", *rows]
