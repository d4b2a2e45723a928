"""Two simulated days of a small cluster, and its made-up grid, as the files that compose.yaml fills Prometheus with.

`fleet.py FOLDER [HOURS]`
"""

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pipeline.demo.fleet import simulate
from pipeline.demo.grid import write_grid
from pipeline.demo.openmetrics import write_openmetrics
from pipeline.demo.spec import DEMO_HOURS, demo_fleet
from pipeline.plan import last_closed
from pipeline.terminal import SystemClock
from pipeline.window import HOUR, Window

SETTLE = timedelta(minutes=13)  # until the last hour's samples are in the past
ZONE = "DEMO"


def main(folder: Path, hours: int) -> None:
    """Write `fleet.om` and `grid.csv`; the hours end with the newest closed one."""
    folder.mkdir(parents=True, exist_ok=True)
    end = last_closed(SystemClock().now(), SETTLE)
    window = Window(end - hours * HOUR, end)
    write_openmetrics(simulate(replace(demo_fleet(end), start=window.start, hours=hours)), folder / "fleet.om")
    write_grid(folder / "grid.csv", ZONE, window)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:] or [DEMO_HOURS]))
