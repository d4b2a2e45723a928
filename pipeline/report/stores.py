"""What became of the hours in one store, as a report says it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass
class StoreOutcome:
    """What became of the hours in one store.

    Attributes:
        store: its name.
        samples_written: samples added.
        hours_published: hours of this run that it now shows at their revision.
        hours_unpublished: all hours that it does not.
        reasons: why, apart from waiting.
        corrections_written: those of the samples that adjust an earlier one.
        hours_pending: hours that differ and wait for their correction.
        corrections_due_utc: first and last time from which the next run corrects them; null where no run will.
    """

    store: str
    samples_written: int
    hours_published: int
    hours_unpublished: int
    reasons: list[str]
    corrections_written: int = 0
    hours_pending: int = 0
    corrections_due_utc: tuple[datetime, datetime] | None = None

    def summary(self) -> str:
        """One line."""
        corrections = f", {self.corrections_written:,} of them corrections" if self.corrections_written else ""
        pending = [f"{self.hours_pending:,} differ, corrected {self._when()}"] if self.hours_pending else []
        reasons = "; ".join([*pending, *self.reasons])
        return (
            f"{self.store}: {self.samples_written:,} samples written{corrections}, {self.hours_published:,} hours "
            f"published, {self.hours_unpublished:,} not{': ' if reasons else ''}{reasons}"
        )

    def _when(self) -> str:
        if self.corrections_due_utc is None:
            return "by `carbon-etl reprice`"
        first, last = (f"{due:%FT%H:%MZ}" for due in self.corrections_due_utc)
        return f"after {first}{f' to {last}' if last != first else ''}, or now by `carbon-etl reprice`"
