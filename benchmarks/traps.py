"""What each meter's known traps do to the product and to PromQL, line by line, on the same real Prometheus.

    python -m benchmarks.traps [--seeds 3] [--hours 6] [--quick]

Per fleet and seed: simulate, load a Prometheus, fold every hour with every meter, ask every line's rival queries at the
end of each hour, and compare all with the simulator's joules.
"""

import argparse
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd

from benchmarks.accuracy import found_binary, served, versions
from benchmarks.trap_fleets import FLEETS, SCRAPE_SECONDS, START
from benchmarks.trap_lines import LINES, Line
from benchmarks.trap_queries import Query
from benchmarks.trap_words import Words, words
from benchmarks.traps_report import OURS, markdown
from pipeline.demo.fleet import Fleet
from pipeline.demo.servers import PrometheusBinary
from pipeline.site import Site
from pipeline.terminal import SystemClock
from pipeline.transforms.energy import NOTHING, Energy
from pipeline.window import HOUR, Clock, Window, to_ms

HOURS, SEEDS = 6, 3
KEY = ["hour_utc", "who"]
CARRIED_AS = {
    "kepler": "kepler",
    "kepler_legacy": "legacy",
    "scaphandre": "scaphandre",
    "dcgm": "dcgm",
}  # fields of `Meters`

Said = dict[Line, tuple[pd.DataFrame, Words]]


def measure(fleet: Fleet, lines: Iterable[Line], binary: PrometheusBinary, clock: Clock) -> Said:
    """Every line about one fleet: a row a `KEY` with `truth` and one column a method, and what the product said.

    Raises:
        CarbonEtlError: no server came up, or it did not answer.
    """
    with served(fleet, binary, clock) as site:
        hours = list(fleet.spec.window.hours())
        folds = [site.fold_meters(Window.of_hour(hour)) for hour in hours]
        said = {}
        for line in lines:
            energy = [fold[line.subject.meter].energy if line.subject.meter in fold else NOTHING for fold in folds]
            said[line] = _compared(fleet, line, site, hours, energy)
    return said


def _compared(
    fleet: Fleet, line: Line, site: Site, hours: Sequence[datetime], energy: Sequence[Energy]
) -> tuple[pd.DataFrame, Words]:
    names = _names(fleet)
    carries = [
        i for i, node in enumerate(fleet.nodes) if getattr(node.meters, CARRIED_AS[line.subject.meter]) is not None
    ]
    nodes = {fleet.nodes[i].name for i in (line.nodes or carries)}
    truth = line.subject.truth(fleet)
    ours = pd.concat([line.subject.ours(one) for one in energy])
    ours[["node", "who"]] = ours[["node", "who"]].replace(names)
    truth, ours = (_by_key(frame[frame["node"].isin(nodes)]) for frame in (truth, ours))
    whose = set(truth["who"])  # a rival may answer about other nodes, too
    found = truth.rename(columns={"joules": "truth"}).merge(
        ours.rename(columns={"joules": OURS}), how="outer", on=KEY, validate="one_to_one"
    )
    for way, promql in line.query.promql.items():
        asked = _ask(site, hours, line.query, promql, names)
        asked = asked[asked["who"].isin(whose)].rename(columns={"joules": way})
        found = found.merge(asked, how="outer", on=KEY, validate="one_to_one")
    return found, words(energy, nodes, names)


def _names(fleet: Fleet) -> dict[str, str]:
    """Nodes by all that meters and Prometheus call them."""
    ports = ("", ":8080", ":9102", ":9400", ":28282")
    return {f"{node.host}{port}": node.name for node in fleet.nodes for port in ports} | {
        node.name: node.name for node in fleet.nodes
    }


def _by_key(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.groupby(KEY)[["joules"]].sum(min_count=1).reset_index()


def _ask(site: Site, hours: Sequence[datetime], query: Query, promql: str, names: dict[str, str]) -> pd.DataFrame:
    """A rival's joules by `KEY`, evaluated at the end of each hour as a dashboard or a recording rule would."""
    rows = [
        (hour, "/".join(names.get(labels.get(label, ""), labels.get(label, "")) for label in query.by), joules)
        for hour in hours
        for labels, joules in site.server.vector(promql, to_ms(hour + HOUR))
    ]
    return pd.DataFrame(rows, columns=[*KEY, "joules"]).astype({"hour_utc": "datetime64[us, UTC]", "joules": float})


def sweep(seeds: Sequence[int], hours: int, binary: PrometheusBinary, clock: Clock) -> Said:
    """Every line, all seeds together."""
    parts: dict[Line, list[tuple[pd.DataFrame, Words]]] = {line: [] for line in LINES}
    for name, fleet_of in FLEETS.items():
        for seed in seeds:
            began = clock.monotonic()
            lines = [line for line in LINES if line.fleet == name]
            for line, part in measure(fleet_of(seed, hours), lines, binary, clock).items():
                parts[line].append(part)
            print(f"{name} seed {seed}: {len(lines)} lines in {clock.monotonic() - began:.1f} s", flush=True)
    return {
        line: (pd.concat([frame for frame, _ in found], ignore_index=True), sum((w for _, w in found), Words()))
        for line, found in parts.items()
    }


def preamble(seeds: Sequence[int], hours: int, binary: PrometheusBinary) -> list[str]:
    """What was run, on what; no date, so that the same run writes the same file."""
    command = f"python -m benchmarks.traps --seeds {len(seeds)} --hours {hours}"
    fleets = (
        f"{len(FLEETS)} kinds of fleet of two to six nodes, {hours} hours from {START:%FT%H:%MZ}, scraped every "
        f"{SCRAPE_SECONDS} s; seeds 1 to {len(seeds)}, added up. Each fleet is in a Prometheus that all methods read."
    )
    return [
        f"Written by `{command}`; what it means, and what it does not, is in [README.md](README.md#traps).",
        fleets,
        versions(binary),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print, and write `traps.md` beside this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.traps", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many, from 1 (default {SEEDS})")
    parser.add_argument("--hours", type=int, default=HOURS, help=f"simulated hours a fleet (default {HOURS})")
    parser.add_argument("--quick", action="store_true", help="one seed; prints, writes nothing")
    options = parser.parse_args(arguments)
    seeds = range(1, (1 if options.quick else options.seeds) + 1)
    binary = found_binary()
    text = markdown(sweep(seeds, options.hours, binary, SystemClock()), preamble(seeds, options.hours, binary))
    print(text)
    if not options.quick:
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
