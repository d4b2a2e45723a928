"""A run that is killed after its n-th effect on disk: `python -m tests.e2e.killed_run CONFIG NOW START END N`."""

import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from pipeline.config import load
from pipeline.job import Job
from pipeline.run import run
from pipeline.window import Window
from tests.clocks import FixedClock
from tests.e2e.conftest import CLUSTER


class Killer:
    """Counts effects, says each on stdout, and ends the process with SIGKILL at the wanted one."""

    def __init__(self, last: int) -> None:
        self._left = last

    def __call__(self, effect: str) -> None:
        sys.stdout.write(f"{effect}\n")
        sys.stdout.flush()
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    config, now, start, end, last = sys.argv[1:]
    window = Window(datetime.fromisoformat(start), datetime.fromisoformat(end))
    clock = FixedClock(datetime.fromisoformat(now))
    report = run(Job(load(Path(config), {}), os.environ, clock, on_effect=Killer(int(last))), [CLUSTER], window)
    sys.exit(report.exit_code)


if __name__ == "__main__":
    main()
