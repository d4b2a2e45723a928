"""What tests do to workers through `Job.on_effect`: it is pickled, so it stands in a module of its own."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StoreFull

CLUSTER = "three-days"


@dataclass(frozen=True)
class Kill:
    """SIGKILL at the first such effect of all processes: of the process that has it, or of another."""

    effect: str
    mark: Path
    pid: int | None = None

    def __call__(self, effect: str) -> None:
        if effect == self.effect:
            try:
                self.mark.touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid() if self.pid is None else self.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Refuse:
    """A disk too full for a row of `hours`, until the mark is there."""

    mark: Path

    def __call__(self, effect: str) -> None:
        if effect == "hours.temporary" and not self.mark.exists():
            raise StoreFull("no space left")
