"""What a decoder is to the fuzzer: a function of bytes, and what it may raise."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

READ = "read"  # what came of an input in which nothing is wrong


class DisagreementError(AssertionError):
    """Two ways to read the same bytes gave different things."""


@dataclass(frozen=True)
class Decoder:
    """Something that reads bytes.

    Attributes:
        read: does it.
        allowed: what it may raise, for its caller turns that into a line.
        recorded: files of real answers, beside those in its folder of the corpus.
    """

    read: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...]
    recorded: tuple[Path, ...] = ()

    def survives(self, content: bytes) -> str:
        """Read it and say shortly what came of it; whatever is not allowed is raised."""
        try:
            self.read(content)
        except self.allowed as error:
            return f"{type(error).__name__}: {str(error)[:40]}"
        return READ
