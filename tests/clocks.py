"""Clocks that tests set."""

import time
from dataclasses import dataclass
from datetime import datetime


@dataclass
class FixedClock:
    """A clock that stands at one moment but still measures and waits."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
