"""Writes the amounts of one part of a report: alike wherever they stand, and never without saying what they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.period_report.amounts import Amounts, Line
from pipeline.period_report.document import Bar, Column, Table
from pipeline.period_report.figures import Figures, Part
from pipeline.period_report.numbers import NONE, Scale, kilograms, percent, ratio_of, signed_percent
from pipeline.period_report.wording import held


@dataclass(frozen=True)
class Writer:
    """How one part is written.

    Attributes:
        figures: the whole report.
        part: which of its parts.
    """

    figures: Figures
    part: Part

    def kg(self, grams: float | None, *, is_change: bool = False) -> str:
        """Grams in kilograms, all of them by the same decimals."""
        totals = [kilograms(amounts.emissions_gco2e) for amounts in self._totals()]
        scale = Scale.of(totals)
        return scale.signed(kilograms(grams)) if is_change else scale.text(kilograms(grams))

    def kwh(self, kwh: float | None) -> str:
        """Energy, all of it by the same decimals."""
        return Scale.of(amounts.energy_kwh for amounts in self._totals()).text(kwh)

    def _totals(self) -> list[Amounts]:
        return [amounts for amounts in (self.part.now, self.part.before) if amounts is not None]

    def shows(self, grams: float) -> bool:
        """Whether grams look like more than nothing."""
        return self.kg(grams) not in (self.kg(0.0), self.kg(-0.0))

    def note(self) -> str:
        """What stands beside every total of grams."""
        return f"Grams: {self.part.scope}; {held(self.figures)}, times PUE."

    def table(
        self, caption: str, heads: Sequence[str], lines: Sequence[Line], names: Callable[[Line], tuple[str, ...]],
        *, is_whole: bool = True,
    ) -> Table:  # fmt: skip
        """A line each: what it came to, its share, and its change where something is known of the period before.

        Args:
            caption: what the table shows.
            heads: what the columns of names are called.
            lines: most grams first.
            names: of a line, a text for each of the heads.
            is_whole: whether the lines sum to the part's total, which then stands below them.
        """
        cells = self._cells(is_whole=is_whole)
        columns = (*map(Column, heads), *(Column(heading, is_number=True) for heading in cells))
        rows = tuple((*names(line), *(cell(line) for cell in cells.values())) for line in lines)
        sums = (cell(self.part.total) for cell in cells.values())
        total = ("All", *[""] * (len(heads) - 1), *(one.text if isinstance(one, Bar) else one for one in sums))
        return Table(caption, columns, rows, total if is_whole else None, self.note())

    def _cells(self, *, is_whole: bool) -> dict[str, Callable[[Line], str | Bar]]:
        """What makes the cell of a line, by the heading of its column."""

        def of_now(cell: Callable[[Amounts], str | Bar]) -> Callable[[Line], str | Bar]:
            return lambda line: NONE if line.now is None else cell(line.now)

        cells = {"IT kWh": of_now(lambda now: self.kwh(now.energy_kwh))}
        if is_whole:
            cells["facility kWh"] = of_now(lambda now: self.kwh(now.facility_energy_kwh))
        cells |= {"kg CO₂e": of_now(lambda now: self.kg(now.emissions_gco2e)), "share": of_now(self._share)}
        if is_whole and self.part.now.unpriced_energy_kwh:
            cells["no grams, kWh"] = of_now(lambda now: self.kwh(now.unpriced_energy_kwh))
        if self.part.before is not None:
            cells["change, kg"] = lambda line: self.kg(line.change_gco2e, is_change=True)
            cells["change"] = _change_ratio
        return cells

    def _share(self, amounts: Amounts) -> Bar:
        share = ratio_of(amounts.emissions_gco2e, self.part.now.emissions_gco2e)
        return Bar(0, share or 0.0, text=percent(share))


def _change_ratio(line: Line) -> str:
    if line.before is None or line.now is None:
        return "new" if line.before is None else "gone"
    return signed_percent(ratio_of(line.change_gco2e, line.before.emissions_gco2e))
