"""The parts of a report: what is counted by one factor type, side by side with the period before."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from pipeline.equality import RELATIVE_TOLERANCE
from pipeline.period_report import questions
from pipeline.period_report.amounts import Amounts, DayLine, Line, amounts_of
from pipeline.period_report.asked import Asked, Row
from pipeline.period_report.decomposition import Cell, decompose
from pipeline.period_report.figures import Part
from pipeline.settings.market import SCOPES

ByType: TypeAlias = Mapping[str | None, Sequence[Row]]

NO_SCOPE = "no grams known"
NAMES = ("cluster", "namespace", "team", "kind", "workload_kind", "workload")


def parts_of(asked: Asked) -> Iterator[Part]:
    """A part for each factor type of the period, the one of most grams first."""
    answers = {name: _by_type(asked.rows(question)) for name, question in questions.BY_TYPE.items()}
    if not asked.rows(questions.HAS_TEAMS):
        answers["teams"] = {}
    for (row,) in answers["totals"].values():
        if row["is_now"]:
            yield _part(row, {name: found.get(row["factor_type"], ()) for name, found in answers.items()})


def _by_type(rows: Sequence[Row]) -> ByType:
    found: dict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["factor_type"]].append(row)
    return dict(found)


def _part(total: Row, rows: Mapping[str, Sequence[Row]]) -> Part:
    """The part of one factor type, out of its total and the answers about it."""

    def lines(found: Sequence[Row]) -> tuple[Line, ...]:
        return tuple(_line(row, has_before=total["is_before"]) for row in found)

    (whole,), clusters, workloads = lines([total]), lines(rows["clusters"]), rows["workloads"]
    changed = lines(sorted(workloads, key=lambda row: row["change_rank"])[: questions.MOST_WORKLOADS])
    large = lines(sorted(workloads, key=lambda row: row["size_rank"])[: questions.MOST_WORKLOADS])
    return Part(
        factor_type=total["factor_type"],
        scope=SCOPES.get(("average", total["factor_type"] or ""), NO_SCOPE),
        now=amounts_of(total, "now_"),
        before=whole.before,
        change_gco2e=whole.change_gco2e,
        effects=None
        if whole.change_gco2e is None
        else decompose(
            {str(line.cluster): _cell(line.before) for line in clusters},
            {str(line.cluster): _cell(line.now) for line in clusters},
        ),
        clusters=clusters,
        kinds=lines(rows["kinds"]),
        namespaces=lines(rows["namespaces"]),
        teams=lines(rows["teams"]),
        largest=tuple(line for line in large if line.now is not None),
        movers=tuple(line for line in changed if line.change_gco2e),
        days=tuple(DayLine(row["day_utc"], row["cluster"], row["kind"], amounts_of(row)) for row in rows["days"]),
    )


def _line(row: Mapping[str, Any], *, has_before: bool) -> Line:
    now = amounts_of(row, "now_") if row["is_now"] else None
    before = amounts_of(row, "before_") if row["is_before"] else None
    change = None
    if has_before:
        old, new = (0.0 if amounts is None else amounts.emissions_gco2e for amounts in (before, now))
        change = None if old is None or new is None else new - old
        if change is not None and math.isclose(old or 0.0, new or 0.0, rel_tol=RELATIVE_TOLERANCE):
            change = 0.0
    return Line(now, before, change, **{name: row[name] for name in NAMES if name in row})


def _cell(amounts: Amounts | None) -> Cell:
    if amounts is None:
        return Cell()
    grams = amounts.emissions_gco2e or 0.0
    return Cell(amounts.energy_kwh, amounts.priced_energy_kwh, amounts.priced_facility_kwh, grams)
