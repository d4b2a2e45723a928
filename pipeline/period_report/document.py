"""What a report says, in order and in words, before it is a page or a text: so that both say the same."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone: TypeAlias = Literal["good", "note", "warning"]
BarTone: TypeAlias = Literal["plain", "more", "less"]


@dataclass(frozen=True)
class Bar:
    """A part of a line, drawn: from and to, of 1; under its number where that has no column of its own."""

    start: float
    end: float
    tone: BarTone = "plain"
    text: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    heading: str
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A table; its rows begin with what they are about.

    Attributes:
        caption: what it shows.
        columns: of all rows.
        rows: cells as text, or drawn.
        total: the last row, which sums the others.
        note: what its totals are.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | Bar, ...], ...]
    total: tuple[str | Bar, ...] | None = None
    note: str = ""


@dataclass(frozen=True)
class Series:
    """Numbers along the days of a chart, null where they are not known."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Chart:
    """A drawing along days, and its numbers.

    Attributes:
        kind: columns that stand on each other, or lines.
        title: what it shows, with its unit.
        description: what is to be seen, for who cannot see it.
        days: of the horizontal axis, as text.
        series: of what is drawn.
        unknown: the numbers of days of which something is not known.
        table: the same numbers.
    """

    kind: Literal["columns", "lines"]
    title: str
    description: str
    days: tuple[str, ...]
    series: tuple[Series, ...]
    unknown: frozenset[int]
    table: Table


@dataclass(frozen=True)
class Card:
    """One key figure."""

    label: str
    value: str
    unit: str
    detail: str


@dataclass(frozen=True)
class Statement:
    """One thing that whoever reads the totals has to know."""

    tone: Tone
    text: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    paragraphs: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    terms: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Document:
    """A whole report in words."""

    title: str
    subtitle: str
    statements: tuple[Statement, ...]
    sections: tuple[Section, ...]
    footer: str
