"""Asking again while a server is unavailable."""

from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import SourceUnavailable
from pipeline.window import Clock

FIRST_WAIT_SECONDS = 0.5
T = TypeVar("T")


def attempts(ask: Callable[[], T], clock: Clock, retry_seconds: float) -> T:
    """What `ask` gives: asked again while the server is unavailable, with growing pauses, within the budget.

    Raises:
        SourceUnavailable: the last one, when the budget does not hold another pause.
    """
    deadline = clock.monotonic() + retry_seconds
    wait_seconds = FIRST_WAIT_SECONDS
    while True:
        try:
            return ask()
        except SourceUnavailable as error:
            pause = error.retry_after_seconds or wait_seconds
            if clock.monotonic() + pause > deadline:
                raise
        clock.sleep(pause)
        wait_seconds *= 2
