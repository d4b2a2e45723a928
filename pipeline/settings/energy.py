"""How samples become energy, and what no device can draw."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.credentials import Part
from pipeline.settings.values import Duration


class CeilingSettings(Part):
    """The most watts that one device can draw: what lies above is quarantined."""

    socket: Annotated[float, Field(gt=0)] = 2000.0
    gpu: Annotated[float, Field(gt=0)] = 1500.0


class EnergySettings(Part):
    """How samples are joined into energy."""

    max_gap: Duration = timedelta(minutes=10)
    settle: Duration = timedelta(minutes=12)
    ceiling_watts: CeilingSettings = CeilingSettings()

    @model_validator(mode="after")
    def _settles_after_gap(self) -> Self:
        if self.settle < self.max_gap + timedelta(minutes=1):
            raise ValueError(
                "settle must exceed max_gap by a scrape (1m at least): an hour's last samples must have arrived"
            )
        if self.max_gap > timedelta(minutes=30) or self.max_gap < timedelta(minutes=1):
            raise ValueError("max_gap must lie between 1m and 30m")
        return self

    @property
    def max_gap_ms(self) -> int:
        """The longest joined interval in milliseconds."""
        return self.max_gap // timedelta(milliseconds=1)
