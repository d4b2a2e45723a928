"""A site's power usage effectiveness: one number, or where its hours' numbers are."""

from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias

from pydantic import ValidatorFunctionWrapHandler, WrapValidator, model_validator

from pipeline.credentials import Part

LEAST_PUE, MOST_PUE = 1.0, 3.0  # below it a site would give energy; above it the figure is no PUE
FORMS = 'write pue = 1.2, or one of { query = "..." }, { csv = "pue.csv" } and { published = true }'


class PueTable(Part):
    """Where PUE is read by the hour: the cluster's own Prometheus, a file, or the table of what clouds publish."""

    query: str | None = None
    csv: Path | None = None
    published: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum((self.query is not None, self.csv is not None, self.published)) != 1:
            raise ValueError(FORMS)
        if self.query is not None and not self.query.strip():
            raise ValueError("query is empty: write an expression that gives facility power over IT power")
        return self


def implausible_pue(ratio: float) -> str | None:
    """Why a number is no PUE; None where it is one."""
    if LEAST_PUE <= ratio <= MOST_PUE:
        return None
    if ratio < LEAST_PUE:
        return f"a PUE of {ratio:g} is below 1: facility energy holds the IT energy"
    return f"a PUE of {ratio:g} is not plausible: {LEAST_PUE:g} to {MOST_PUE:g} is taken"


def _pue(value: Any, _handler: ValidatorFunctionWrapHandler) -> float | PueTable:  # noqa: ANN401 # a raw TOML value
    if isinstance(value, PueTable):
        return value
    if isinstance(value, dict):
        return PueTable.model_validate(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(FORMS)  # noqa: TRY004 # what pydantic turns into one line
    reason = implausible_pue(value)
    if reason is not None:
        raise ValueError(reason)
    return float(value)


PueSettings: TypeAlias = Annotated[float | PueTable, WrapValidator(_pue)]
