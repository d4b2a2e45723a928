"""A backfill of the tests' hours in a process of its own: `python -m tests.delta.backfill CONFIG`."""

import os
import sys
from datetime import timedelta
from pathlib import Path

from pipeline.config import load
from pipeline.job import Job
from pipeline.run import run
from tests.clocks import FixedClock
from tests.delta.conftest import NOW, WINDOW
from tests.e2e.conftest import CLUSTER


def main() -> None:
    job = Job(load(Path(sys.argv[1]), {}), os.environ, FixedClock(NOW + timedelta(minutes=1)))
    report = run(job, [CLUSTER], WINDOW)
    sys.stdout.write(report.to_json())
    sys.exit(report.exit_code)


if __name__ == "__main__":
    main()
