"""Commits the second day of `rows` and dies right after an effect: `python -m tests.sinks.dying ROOT EFFECT`."""

import os
import signal
import sys
from pathlib import Path

from pipeline.sinks.warehouse import Warehouse
from tests.sinks import rows


def main() -> None:
    """Hours 0 to 2: 0 as stored, 1 repriced, 2 new."""
    root, last = sys.argv[1:]

    def die(effect: str) -> None:
        if effect == last:
            os.kill(os.getpid(), signal.SIGKILL)

    rows.commit_like_a_run(Warehouse(Path(root), die), *rows.second_commit(), rows.SECOND)


if __name__ == "__main__":
    main()
