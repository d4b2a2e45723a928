"""The budget of retries around a conversation with a store."""

from pipeline.sinks.remote_write import UnsettledWriteError
from pipeline.window import Clock


class Patience:
    """Pauses double, and Retry-After is obeyed, until the budget is spent; it starts to run with the first failure."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._ends: float | None = None
        self._pause_seconds = 0.5

    def left(self) -> float:
        """Seconds of the budget."""
        return self._seconds if self._ends is None else max(0.0, self._ends - self._clock.monotonic())

    def wait(self, failure: UnsettledWriteError) -> None:
        """Pause before another look, or raise `failure` when the budget does not allow one."""
        if self._ends is None:
            self._ends = self._clock.monotonic() + self._seconds
        pause_seconds = max(self._pause_seconds, failure.retry_after_seconds)
        if pause_seconds > self.left():
            raise failure
        self._clock.sleep(pause_seconds)
        self._pause_seconds = min(2 * self._pause_seconds, 8.0)
