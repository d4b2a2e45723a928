"""Numbers as people read them: one number of decimals a column, a sign where it is a change, words where it is null."""

from collections.abc import Iterable
from dataclasses import dataclass

NOT_KNOWN = "not known"
NONE = "\N{EN DASH}"  # nothing was there: no energy, so no figure
MINUS = "\N{MINUS SIGN}"
MOST_DECIMALS = 4
KG = 1000.0


@dataclass(frozen=True)
class Scale:
    """How finely numbers of one column are written."""

    decimals: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Scale":
        """So that the greatest of them shows about four digits, and from a hundred on one decimal or none."""
        greatest = max((abs(value) for value in values if value is not None), default=0.0)
        digits = len(f"{greatest:.0f}") if greatest >= 1 else 0
        return cls({0: MOST_DECIMALS, 1: 3, 2: 2, 3: 1, 4: 1}.get(digits, 0))

    def text(self, value: float | None) -> str:
        """A number: 1,234.5; `<0.1` where it would look like nothing and is not."""
        if value is None:
            return NOT_KNOWN
        least = 10.0**-self.decimals
        if 0 < abs(value) < least / 2:
            return f"<{least:.{self.decimals}f}" if value > 0 else f">{MINUS}{least:.{self.decimals}f}"
        return f"{value:,.{self.decimals}f}".replace("-", MINUS)

    def signed(self, value: float | None) -> str:
        """A change, with its sign; none where it would look like nothing."""
        if value is None:
            return NOT_KNOWN
        text = self.text(value)
        return f"+{text}" if value > 0 and float(f"{value:.{self.decimals}f}") else text


def percent(ratio: float | None) -> str:
    """A share: 12.3 %."""
    if ratio is None:
        return NOT_KNOWN
    if 0 < ratio < 0.0005:
        return "<0.1 %"
    if 0.9995 <= ratio < 1:
        return ">99.9 %"
    return f"{ratio:.1%}".replace("%", " %").replace("-", MINUS)


def signed_percent(ratio: float | None) -> str:
    """A change as a share: +12.3 %."""
    if ratio is None:
        return NOT_KNOWN
    text = f"{ratio:+.1%}"
    return ("0.0%" if float(text[:-1]) == 0 else text).replace("%", " %").replace("-", MINUS)


def kilograms(grams: float | None) -> float | None:
    """Grams as kilograms."""
    return None if grams is None else grams / KG


def ratio_of(part: float | None, whole: float | None) -> float | None:
    """A quotient; null where it says nothing."""
    return None if part is None or not whole else part / whole
