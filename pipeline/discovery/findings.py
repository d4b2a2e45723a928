"""Lines of the doctor's checklist."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.checks import NAMED

OK, NOTE, FAIL = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the checklist: how serious, about what, and what to do."""

    level: int
    about: str
    text: str

    @property
    def mark(self) -> str:
        """The line's first sign."""
        return ("✓", "!", "✗")[self.level]

    @property
    def is_failure(self) -> bool:
        """Whether it needs somebody."""
        return self.level == FAIL

    @property
    def style(self) -> str | None:
        """The line's colour on a terminal."""
        return (None, "yellow", "red")[self.level]


def some(names: Iterable[str]) -> str:
    """The first names in order, and how many more there are."""
    ordered = sorted(names)
    more = len(ordered) - NAMED
    return ", ".join(ordered[:NAMED]) + (f" and {more} more" if more > 0 else "")
