"""What all pages of measurements have in common: goals first, then tables, and on what it was measured."""

import argparse
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.accuracy_report import table

DISTURBED = "Server and client share the machine, so ratios mean something and seconds do not."
ROUNDS = 3
ONCE = "Measured once."


@dataclass(frozen=True, slots=True)
class Goal:
    """One promise beside what was measured."""

    what: str
    asked: float
    measured: float
    at_most: bool = False
    unit: str = "x"
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether it is kept."""
        return self.measured <= self.asked if self.at_most else self.measured >= self.asked

    @property
    def cells(self) -> list[str]:
        """Its line of the table."""
        asked = f"at {'most' if self.at_most else 'least'} {self.asked:g} {self.unit}"
        measured = f"{self.measured:.3g} {self.unit}{f' ({self.note})' if self.note else ''}"
        return [self.what, asked, measured, "pass" if self.met else "**MISSED**"]


def goals_table(goals: Sequence[Goal]) -> Iterator[str]:
    """All promises in Markdown."""
    yield from table(["", "asked", "measured", ""], [goal.cells for goal in goals])


def machine() -> str:
    """What it ran on: processor, cores, memory."""
    cpu = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return f"{cpu[0] if cpu else platform.processor()}, {os.cpu_count()} cores, {memory / (1 << 20):.0f} GiB"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def versions(*packages: str, programs: Sequence[str] = ()) -> str:
    """Python, some packages, some programs."""
    told = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    for program in programs:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        number = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
        told.append(f"{Path(program).name} {number[0] if number else 'of unknown version'}")
    return ", ".join(told)


def parser(doc: str | None, quick: str) -> argparse.ArgumentParser:
    """What every benchmark at size can be asked for; `quick` says what that is."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help=f"{quick}; prints, writes nothing")
    made.add_argument("--data", type=Path, help="keep what was made to be measured in this folder, and use it again")
    made.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each way is measured (default {ROUNDS})")
    return made


def in_turns(rounds: int) -> str:
    """How often each figure was taken."""
    return f"Medians of {rounds}, the ways taking turns." if rounds > 1 else ONCE


def document(
    title: str, command: str, setup: str, goals: Sequence[Goal], parts: Sequence[str], rounds: int = ROUNDS
) -> str:
    """A whole page."""
    head = [
        f"# {title}",
        f"Written by `{command}`. {machine()}. {setup}. {DISTURBED} {in_turns(rounds)}",
        *(goals_table(goals) if goals else ()),
    ]
    return "\n\n".join([*head, *parts]) + "\n"


def finish(page: Path, text: str, *, quick: bool) -> None:
    """Print the page, and write it unless it was made in a hurry."""
    print(text)
    if not quick:
        page.write_text(text, encoding="utf-8")
