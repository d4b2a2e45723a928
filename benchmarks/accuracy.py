"""How near to simulated physical joules the product comes, and how near PromQL's `increase()` on the same server.

    python -m benchmarks.accuracy [--seeds 10] [--quick]

Per fleet kind and seed: simulate, load a real Prometheus, fold every hour through the product's own query transport,
ask the same server the rival queries, and compare all with the simulator's truth.
"""

import argparse
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.accuracy_report import markdown
from pipeline import __version__
from pipeline.demo.binaries import PrometheusBinary, find_prometheus
from pipeline.demo.fleet import Fleet, FleetSpec, churning, restarting, simulate, steady
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.pods import Pod
from pipeline.demo.servers import free_port, start_prometheus
from pipeline.settings import Settings
from pipeline.site import Site, open_site
from pipeline.tables import METHOD_VERSION
from pipeline.terminal import SystemClock
from pipeline.units import MS_PER_HOUR, MS_PER_SECOND
from pipeline.window import HOUR, Clock, Window, to_ms

START = datetime(2026, 11, 3, 10, tzinfo=UTC)
KINDS: Mapping[str, Callable[[int, datetime, int], FleetSpec]] = {
    "steady": steady, "churning": churning, "restarting": restarting
}  # fmt: skip
HOURS = 12
QUICK_SEEDS = 2
NODE_KEY = ["hour_utc", "node", "component"]
POD_KEY = [*NODE_KEY, "pod_uid"]
BY_POD = "sum by (node_name, zone, pod_id)"
BY_NODE = "sum by (node_name, zone)"
POD_RIVALS = {
    # the two states of a pod are one counter, so a careful user takes the larger and only then adds what remains
    "increase": f"{BY_POD} (max without (state) (increase(kepler_pod_cpu_joules_total[1h])))",
    "naive": f"{BY_POD} (increase(kepler_pod_cpu_joules_total[1h]))",
}
NODE_RIVALS = {
    "increase": f"{BY_NODE} (increase(kepler_node_cpu_active_joules_total[1h]))"
    f" + {BY_NODE} (increase(kepler_node_cpu_idle_joules_total[1h]))",
    "register": f"{BY_NODE} (increase(kepler_node_cpu_joules_total[1h]))",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Truth beside what each method says; NaN where a method has no figure.

    Attributes:
        pods: one row a (kind, seed, POD_KEY) with energy: `truth`, one column a method, and `steady`: the pod ran
            through the whole hour and its counter was not reset in it.
        nodes: one row a (kind, seed, NODE_KEY): `truth` (active and idle), and one column a method.
    """

    pods: pd.DataFrame
    nodes: pd.DataFrame


def with_truth(fleet: Fleet, rows: pa.Table, nodes: pa.Table) -> Comparison:
    """The product's rows as column `ours` beside the truth.

    Args:
        fleet: what was simulated.
        rows: schema `transforms.energy.ENERGY` of all the fleet's hours.
        nodes: schema `transforms.energy.NODES` of the same hours.
    """
    pod_truth = fleet.truth_pods.to_pandas().rename(columns={"energy_joules": "truth"})
    node_truth = fleet.truth_nodes.to_pandas()
    node_truth["truth"] = node_truth.pop("active_joules") + node_truth.pop("idle_joules")
    workloads = rows.to_pandas().query("kind == 'workload'").rename(columns={"energy_joules": "ours"})
    metered = nodes.to_pandas().rename(columns={"metered_joules": "ours"})
    pods = pod_truth.merge(workloads[[*POD_KEY, "ours"]], how="left", on=POD_KEY, validate="one_to_one")
    pods["steady"] = _steady(fleet, pods)
    return Comparison(
        pods, node_truth.merge(metered[[*NODE_KEY, "ours"]], how="left", on=NODE_KEY, validate="one_to_one")
    )


def _steady(fleet: Fleet, pods: pd.DataFrame) -> list[bool]:
    """Whether each pod-hour lies wholly in one run of the pod, without a reset in it or within one scrape of it."""
    by_uid = {pod.uid: pod for pod in fleet.pods}
    calm = []
    for hour_utc, zone, uid in zip(pods["hour_utc"], pods["component"], pods["pod_uid"], strict=True):
        begin = to_ms(hour_utc.to_pydatetime()) - fleet.spec.start_ms
        margin = fleet.spec.scrape_seconds * MS_PER_SECOND
        calm.append(_undisturbed(fleet, by_uid[uid], zone, begin - margin, begin + MS_PER_HOUR + margin))
    return calm


def _undisturbed(fleet: Fleet, pod: Pod, zone: str, begin_ms: int, end_ms: int) -> bool:
    node = next(node for node in fleet.nodes if node.name == pod.node)
    resets = node.dram_resets_ms if zone == "dram" else ()
    spans = (pod.runs_ms, node.kepler_runs_ms)
    alive = all(any(start <= begin_ms and end_ms <= stop for start, stop in span) for span in spans)
    return alive and not any(begin_ms <= reset <= end_ms for reset in resets)


def measure(fleet: Fleet, binary: PrometheusBinary, clock: Clock) -> Comparison:
    """Load the fleet into a Prometheus of its own, and let the product and its rivals read it.

    Raises:
        CarbonEtlError: no server came up, or it did not answer.
    """
    with served(fleet, binary, clock) as site:
        hours = list(fleet.spec.window.hours())
        energy = [site.fold(Window.of_hour(hour)) for hour in hours]
        found = with_truth(
            fleet, pa.concat_tables([e.rows for e in energy]), pa.concat_tables([e.nodes for e in energy])
        )
        pods, nodes = found.pods, found.nodes
        for method, query in POD_RIVALS.items():
            pods = pods.merge(_ask(site, hours, query, method, POD_KEY), how="left", on=POD_KEY, validate="one_to_one")
        for method, query in NODE_RIVALS.items():
            nodes = nodes.merge(
                _ask(site, hours, query, method, NODE_KEY), how="left", on=NODE_KEY, validate="one_to_one"
            )
    return Comparison(pods, nodes)


@contextmanager
def served(fleet: Fleet, binary: PrometheusBinary, clock: Clock) -> Iterator[Site]:
    """The fleet in a Prometheus of its own, as the product meets it."""
    with tempfile.TemporaryDirectory(prefix="accuracy-") as folder:
        data_dir = Path(folder) / "prometheus"
        fill_blocks(fleet, binary.promtool, data_dir)
        with start_prometheus(binary, data_dir, free_port(), clock) as server:
            cluster = {"name": "demo", "prometheus_url": server.url, "grid_zone": "DE", "pue": 1.0}
            yield open_site("demo", Settings.model_validate({"clusters": [cluster]}), {}, clock)


def _ask(site: Site, hours: Sequence[datetime], query: str, method: str, key: Sequence[str]) -> pd.DataFrame:
    """A rival's joules, evaluated at the end of each hour as a dashboard or a recording rule would."""
    names = {"node": "node_name", "component": "zone", "pod_uid": "pod_id"}
    rows: list[dict[str, Any]] = []
    for hour in hours:
        for labels, joules in site.server.vector(query, to_ms(hour + HOUR)):
            who = {column: labels[names[column]] for column in key if column in names}
            rows.append({"hour_utc": hour, **who, method: joules})
    frame = pd.DataFrame(rows, columns=[*key, method])
    return frame.astype({"hour_utc": "datetime64[us, UTC]"})


def sweep(seeds: Sequence[int], binary: PrometheusBinary, clock: Clock) -> Comparison:
    """Measure every kind of fleet with every seed."""
    pods, nodes = [], []
    for kind, spec_of in KINDS.items():
        for seed in seeds:
            began = clock.monotonic()
            found = measure(simulate(spec_of(seed, START, HOURS)), binary, clock)
            pods.append(found.pods.assign(kind=kind, seed=seed))
            nodes.append(found.nodes.assign(kind=kind, seed=seed))
            print(f"{kind} seed {seed}: {len(found.pods)} pod-hours in {clock.monotonic() - began:.1f} s", flush=True)
    return Comparison(pd.concat(pods, ignore_index=True), pd.concat(nodes, ignore_index=True))


def versions(binary: PrometheusBinary) -> str:
    """What decides a benchmark's figures, in one line."""
    told = subprocess.run([str(binary.prometheus), "--version"], capture_output=True, text=True, check=True)
    parts = {
        "carbon-etl": f"{__version__}, method {METHOD_VERSION}",
        "Prometheus": (told.stdout or told.stderr).split(" (")[0].removeprefix("prometheus, version "),
        "Python": platform.python_version(),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
    }
    return "; ".join(f"{name} {version}" for name, version in parts.items()) + "."


def found_binary() -> PrometheusBinary:
    """Prometheus and promtool, from the PATH or fetched."""
    cache_dir = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "carbon-etl"
    return find_prometheus(cache_dir, os.environ.get("PATH", ""))


def preamble(seeds: Sequence[int], binary: PrometheusBinary, command: str) -> list[str]:
    """What was run, on what, in Markdown paragraphs; no date, so that the same run writes the same file."""
    rivals = "\n".join([*POD_RIVALS.values(), *NODE_RIVALS.values()])
    return [
        "# Accuracy",
        f"Written by `{command}`; what it means, and what it does not, is in [README.md](README.md).",
        f"Fleets of three nodes, {HOURS} hours from {START:%FT%H:%MZ}, scraped every 30 s; seeds 1 to {len(seeds)}.",
        "Truth is physical: it contains what no sample shows. Errors are relative to it, a missing figure is -100 %.",
        versions(binary),
        f"The rivals, on the same server, at the end of each hour:\n\n```promql\n{rivals}\n```",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print, and write `accuracy.md` beside this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="how many, from 1 (default 10)")
    parser.add_argument("--quick", action="store_true", help="two seeds; prints, writes nothing")
    options = parser.parse_args(arguments)
    seeds = range(1, (QUICK_SEEDS if options.quick else options.seeds) + 1)
    binary = found_binary()
    found = sweep(seeds, binary, SystemClock())
    command = f"python -m benchmarks.accuracy --seeds {len(seeds)}"
    text = markdown(found.pods, found.nodes, preamble(seeds, binary, command))
    print(text)
    if not options.quick:
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
