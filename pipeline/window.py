"""Half-open UTC windows of whole hours: the only notion of time that code below cli.py has."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pipeline.errors import ConfigError
from pipeline.units import MS_PER_HOUR

HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, exact."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_ms(stamp_ms: int) -> datetime:
    """The UTC moment of a millisecond stamp."""
    return EPOCH + timedelta(milliseconds=int(stamp_ms))


def floor_hour(moment: datetime) -> datetime:
    """The start of the UTC hour that `moment` lies in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def parse_time(text: str, what: str = "time") -> datetime:
    """An ISO 8601 time with a zone, as UTC.

    Raises:
        ConfigError: not ISO 8601, or naive: a time without a zone means another hour on another machine.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{what} {text!r} is not ISO 8601: write it like 2026-11-01T00:00Z") from None
    if moment.tzinfo is None:
        moment_text = text if "T" in text or " " in text else f"{text}T00:00"
        raise ConfigError(f"{what} {text!r} has no time zone: write {moment_text}Z for UTC, or {moment_text}+01:00")
    return moment.astimezone(UTC)


@dataclass(frozen=True, order=True)
class Window:
    """`[start, end)` in UTC, whole hours, not empty."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment.tzinfo is None or moment.utcoffset() != timedelta(0):
                raise ConfigError(f"{name} {moment.isoformat()} is not in UTC")
            if moment != floor_hour(moment):
                raise ConfigError(
                    f"{name} {moment.isoformat()} is not a whole UTC hour: use {floor_hour(moment):%FT%H:00Z}"
                )
        if self.end <= self.start:
            raise ConfigError(f"the window ends ({self.end:%FT%H:%MZ}) before it begins ({self.start:%FT%H:%MZ})")

    @classmethod
    def of_hour(cls, hour_utc: datetime) -> "Window":
        """The window of one hour, given its left edge."""
        return cls(hour_utc, hour_utc + HOUR)

    @property
    def start_ms(self) -> int:
        """Left edge in milliseconds since the epoch."""
        return to_ms(self.start)

    @property
    def end_ms(self) -> int:
        """Right edge in milliseconds since the epoch, itself outside."""
        return to_ms(self.end)

    @property
    def hour_count(self) -> int:
        """Number of hours inside."""
        return (self.end_ms - self.start_ms) // MS_PER_HOUR

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def hours(self) -> Iterator[datetime]:
        """Left edges of the hours inside, in order."""
        for index in range(self.hour_count):
            yield self.start + index * HOUR

    def __str__(self) -> str:
        return f"{self.start:%FT%H:%MZ} to {self.end:%FT%H:%MZ}"


class Clock(Protocol):
    """Time as cli.py hands it down, so that tests need no waiting and nothing below reads the machine's clock."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
