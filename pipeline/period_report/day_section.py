"""A period day by day: its emissions, and how clean its power was."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta

from pipeline.period_report.amounts import DayLine
from pipeline.period_report.document import Chart, Column, Section, Series, Table
from pipeline.period_report.numbers import NONE, NOT_KNOWN, Scale, kilograms, ratio_of
from pipeline.period_report.wording import LABEL_OF_KIND, joined
from pipeline.period_report.writer import Writer

MOST_LINES = 4  # that can be told apart in one drawing
DAY = timedelta(days=1)
ALL = "all clusters"
UNKNOWN = "Hatched: days that lack hours, or of whose energy a part has no grams."


def by_day(writer: Writer) -> Section:
    """Emissions a day by kind, and grid intensity a day by cluster."""
    days = list(_days(writer))
    lines = writer.part.days
    lacking = {*writer.figures.lacking_days, *(line.day_utc for line in lines if line.amounts.unpriced_energy_kwh)}
    unknown = frozenset(number for number, day in enumerate(days) if day in lacking)
    kinds = [kind for kind in LABEL_OF_KIND if any(line.kind == kind for line in lines)]
    emitted = _series(days, lines, lambda line: line.kind, _grams)
    columns = [Series(LABEL_OF_KIND[kind], tuple(map(kilograms, emitted[kind]))) for kind in kinds]
    few = len({line.cluster for line in lines}) <= MOST_LINES
    clean = _series(days, lines, lambda line: line.cluster if few else ALL, _intensity)
    tracks = [Series(name, clean[name]) for name in sorted(clean)]
    charts = (
        _chart("columns", "Emissions by day, kg CO₂e", days, columns, unknown),
        _chart("lines", "Grid intensity by day, g CO₂e per kWh", days, tracks, frozenset()),
    )
    return Section("Day by day", (UNKNOWN,) if unknown else (), charts=charts)


def _days(writer: Writer) -> Iterator[date]:
    """Every UTC day that the period touches."""
    day, until = writer.figures.spans.start_utc.date(), writer.figures.spans.until_utc
    while day < until.date() or (day == until.date() and until.hour):
        yield day
        day += DAY


def _series(
    days: Sequence[date],
    lines: Iterable[DayLine],
    name: Callable[[DayLine], str],
    value: Callable[[Sequence[DayLine]], float | None],
) -> Mapping[str, tuple[float | None, ...]]:
    """A number a day for each name; null on days that have none."""
    found: dict[str, dict[date, list[DayLine]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        found[name(line)][line.day_utc].append(line)
    return {of: tuple(value(told[day]) if day in told else None for day in days) for of, told in found.items()}


def _grams(lines: Sequence[DayLine]) -> float | None:
    known = [line.amounts.emissions_gco2e for line in lines if line.amounts.emissions_gco2e is not None]
    return math.fsum(known) if known else None


def _intensity(lines: Sequence[DayLine]) -> float | None:
    return ratio_of(_grams(lines), math.fsum(line.amounts.priced_facility_kwh for line in lines))


def _chart(kind: str, title: str, days: Sequence[date], series: Sequence[Series], unknown: frozenset[int]) -> Chart:
    scale = Scale.of(value for one in series for value in one.values)
    texts = tuple(f"{day:%Y-%m-%d}" for day in days)
    cells = [[NONE if value is None else scale.text(value) for value in one.values] for one in series]
    rows = tuple((day, *told) for day, told in zip(texts, zip(*cells, strict=True), strict=True)) if cells else ()
    table = Table(title, (Column("UTC day"), *(Column(one.name, is_number=True) for one in series)), rows)
    return Chart(
        "columns" if kind == "columns" else "lines",
        title,
        _described(texts, series, scale),
        texts,
        tuple(series),
        unknown,
        table,
    )


def _described(days: Sequence[str], series: Sequence[Series], scale: Scale) -> str:
    """What is to be seen, in words."""
    told = []
    for one in series:
        known = [(value, day) for value, day in zip(one.values, days, strict=True) if value is not None]
        if known:
            (least, first), (most, last) = min(known), max(known)
            told.append(f"{one.name} from {scale.text(least)} on {first} to {scale.text(most)} on {last}")
    return f"{joined(told)}." if told else f"{NOT_KNOWN}."
