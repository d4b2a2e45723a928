"""Extract and fold in a process of its own: `Site.fold_hours` from the first request to the last row.

    python -m benchmarks.fold_process --url URL --selector SELECTOR --start-ms MS --hours 24 [--rows FILE]

Prints one line of JSON: seconds (imports excluded), peak memory, rows, joules, and how large the rows themselves are.
"""

import argparse
import json
import time
from collections.abc import Sequence

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.stopwatch import imported, own_peak_mb
from pipeline.settings import Settings
from pipeline.site import Site, open_site
from pipeline.terminal import SystemClock
from pipeline.units import MS_PER_HOUR
from pipeline.window import HOUR, from_ms

CLUSTER = "bench"


def opened(url: str, selector: str, transport: str = "auto") -> Site:
    """The benchmark's cluster as a config would describe it."""
    endpoint = {"url": url, "selector": selector, "transport": transport}
    cluster = {"name": CLUSTER, "prometheus": [endpoint], "grid_zone": "DE", "pue": 1.25}
    settings = {"clusters": [cluster], "http": {"timeout_seconds": 600, "max_response_mb": 8_000}}
    return open_site(CLUSTER, Settings.model_validate(settings), {}, SystemClock())


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--url", "--selector"):
        parser.add_argument(name, required=True)
    parser.add_argument("--start-ms", type=int, required=True)
    parser.add_argument("--hours", type=int, required=True)
    parser.add_argument("--transport", default="auto")
    parser.add_argument("--rows", help="parquet file for the workloads' joules, written after the clock has stopped")
    given = parser.parse_args(arguments)
    site = opened(given.url, given.selector, given.transport)
    kernels = imported()
    hours = [from_ms(given.start_ms) + n * HOUR for n in range(given.hours)]
    began = time.perf_counter()
    energy = site.fold_hours(hours, given.start_ms - MS_PER_HOUR)
    seconds = time.perf_counter() - began
    told = {
        "seconds": seconds, "peak_mb": own_peak_mb(), "rows": energy.rows.num_rows,
        "rows_mb": energy.rows.nbytes / 1e6, "joules": pc.sum(energy.rows.column("energy_joules")).as_py(),
        "withheld": energy.withheld.num_rows, "transport": site.server.choice.transport, "kernels": kernels,
    }  # fmt: skip
    if given.rows:
        workloads = energy.rows.filter(pc.field("kind") == "workload")
        pq.write_table(workloads.select(["hour_utc", "node", "component", "pod_uid", "energy_joules"]), given.rows)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
