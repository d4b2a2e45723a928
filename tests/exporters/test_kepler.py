"""The real Kepler on registers of known energy: what the product's fold makes of it, and the facts the fold rests on.

Energy is compared interval by interval between the first and the last scrape, because the table's rows are whole hours.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.demo.binaries import PrometheusBinary
from pipeline.demo.servers import free_port
from pipeline.sources.meters import kepler as meter
from pipeline.starts import UNKNOWN
from pipeline.transforms.metered import Metered, fold_meters
from pipeline.transforms.readings import align
from pipeline.units import MS_PER_MINUTE
from pipeline.window import Clock
from tests.exporters.driving import Exporter, Series, burner, scraping
from tests.exporters.exposition import Exposed, parse
from tests.exporters.powercap import MICRO, Powercap, Register, register

pytestmark = pytest.mark.real

INTERVAL_SECONDS = 3
MAX_GAP_MS = 10 * MS_PER_MINUTE
PROCESSES = "kepler_process_cpu_joules_total"
NODE = (meter.RAW, meter.ACTIVE, meter.IDLE)


def exporter(program: Path, powercap: Powercap, port: int, log: Path) -> Exporter:
    """Kepler without Kubernetes on made registers; processes are the machine's own."""
    sysfs = powercap.folder.parents[1]
    command = [str(program), f"--host.sysfs={sysfs}", "--host.procfs=/proc", f"--web.listen-address=127.0.0.1:{port}"]
    return Exporter(command, port, {}, log)


def powercap_in(folder: Path, registers: list[Register]) -> Powercap:
    """Registers where Kepler looks for them below its sysfs."""
    return Powercap(folder / "sys" / "class" / "powercap", registers)


@dataclass(frozen=True)
class Drive:
    """A wrap, a busy process that ends, and a restart: as Prometheus saw it and as the product folds it."""

    sockets: int
    powercap: Powercap
    metered: Metered
    meters: list[tuple[str, str]]
    ended_pid: int
    restart_ms: int
    all: dict[str, list[Series]]

    def node(self, metric: str, zone: str) -> Series:
        """A node counter."""
        [found] = [s for s in self.all[metric] if s.labels["zone"] == zone]
        return found


@pytest.fixture(scope="module", params=[1, 2], ids=["one_socket", "two_sockets"])
def drive(
    request: pytest.FixtureRequest,
    kepler: Path,
    prometheus_binary: PrometheusBinary,
    tmp_path_factory: pytest.TempPathFactory,
    clock: Clock,
) -> Iterator[Drive]:
    folder = tmp_path_factory.mktemp("kepler")
    with ExitStack() as stack:
        port = free_port()
        scraper = stack.enter_context(scraping(prometheus_binary, folder / "prometheus", port, INTERVAL_SECONDS, clock))
        wrap_seconds = scraper.middle_seconds(INTERVAL_SECONDS, 20)
        registers = [register(0, wraps_after_seconds=wrap_seconds), register(0, dram=True)]
        registers += [register(1), register(1, dram=True)] if request.param == 2 else []
        powercap = stack.enter_context(powercap_in(folder, registers))
        program = exporter(kepler, powercap, port, folder / "log")
        with program.running():
            with burner() as ended:
                scraper.await_scrapes(8)
            scraper.await_scrapes(4)
        restart_ms = round(time.time() * 1_000)
        with program.running():
            scraper.await_scrapes(5)
        samples = meter.read(scraper.transport, [], scraper.start_ms, round(time.time() * 1_000))
        aligned = align(samples, UNKNOWN)
        yield Drive(
            request.param, powercap, fold_meters(aligned.readings, MAX_GAP_MS), aligned.meters, ended.pid, restart_ms,
            {name: scraper.series(name + "{}") for name in (*NODE, PROCESSES, "up")},
        )  # fmt: skip


@pytest.mark.parametrize("zone", ["package", "dram"])
def test_metered_joules_are_the_fed_joules_through_wrap_and_restart(drive: Drive, zone: str) -> None:
    own = drive.meters.index(("127.0.0.1", zone))
    active, idle = (part.where(part.code == own) for part in (drive.metered.active, drive.metered.idle))
    start, end = int(active.start_ms[0]), int(active.end_ms[-1])
    known = drive.powercap.joules_between(start, end, dram=zone == "dram")
    one_scrape = known / (end - start) * 1_000 * INTERVAL_SECONDS
    assert drive.metered.restarted.any()
    assert abs(float(active.joules.sum() + idle.joules.sum()) - known) < one_scrape


def test_nodes_are_known_by_their_address_because_node_name_is_absent_without_kubernetes(drive: Drive) -> None:
    assert drive.meters == [("127.0.0.1", "dram"), ("127.0.0.1", "package")]
    assert all("node_name" not in series.labels for name in NODE for series in drive.all[name])


def test_sockets_are_one_series_and_its_path_says_so(drive: Drive) -> None:
    for zone in ("package", "dram"):
        path = drive.node(meter.RAW, zone).labels["path"]
        assert (path == f"aggregated-{zone}") == (drive.sockets == 2)


def test_active_starts_at_zero_and_idle_with_the_whole_register(drive: Drive) -> None:
    restarted = drive.node(meter.ACTIVE, "package").stamps_ms > drive.restart_ms
    first = {name: drive.node(name, "package").values[restarted][0] for name in NODE}
    assert first[meter.ACTIVE] + first[meter.IDLE] == pytest.approx(first[meter.RAW], abs=1e-3)
    assert first[meter.ACTIVE] < 0.1 * first[meter.IDLE]


def test_the_raw_counter_wraps_alone_and_survives_a_restart_only_on_one_socket(drive: Drive) -> None:
    raw = drive.node(meter.RAW, "package")
    before = raw.stamps_ms < drive.restart_ms
    wraps = int((np.diff(raw.values[before]) < 0).sum())
    jump = float(raw.values[~before][0] - raw.values[before][-1])
    if drive.sockets == 1:
        assert wraps == 1
        assert 0 < jump < 2_000
    else:
        assert wraps == 0  # the sum goes on over one socket's wrap
        assert jump < -200_000  # and forgets it at a restart


def test_an_ended_process_is_told_once_with_its_whole_life(drive: Drive) -> None:
    series = [s for s in drive.all[PROCESSES] if s.labels["pid"] == str(drive.ended_pid)]
    states = {state: [s for s in series if s.labels["state"] == state and s.labels["zone"] == "package"]
              for state in ("running", "terminated")}  # fmt: skip
    [running], [ended] = states["running"], states["terminated"]
    assert len(ended.values) == 1
    assert ended.values[0] >= running.values[-1] > 0


def test_processes_share_what_is_active(drive: Drive) -> None:
    active = drive.node(meter.ACTIVE, "package")
    before = active.stamps_ms < drive.restart_ms
    shared = 0.0
    for series in drive.all[PROCESSES]:
        own = series.stamps_ms < drive.restart_ms
        if series.labels["zone"] == "package" and series.labels["state"] == "running" and own.any():
            shared += float(np.maximum(np.diff(series.values[own]), 0).sum())
    total = float(active.values[before][-1] - active.values[before][0])
    assert 0.5 * total < shared < 1.05 * total


def values(body: list[Exposed], metric: str, **labels: str) -> list[float]:
    return [s.value for s in body if s.metric == metric and labels.items() <= s.labels.items()]


def test_a_processs_counter_of_a_zone_that_uses_nothing_goes_back_to_zero(kepler: Path, tmp_path: Path) -> None:
    memory = replace(register(0, dram=True), stops_after_seconds=8.0)
    with powercap_in(tmp_path, [register(0), memory]) as powercap, burner() as busy:
        program = exporter(kepler, powercap, free_port(), tmp_path / "log")
        with program.running():
            seen = []
            for _ in range(5):
                time.sleep(INTERVAL_SECONDS)  # the pace of a scraper
                seen.append(values(parse(program.body()), PROCESSES, pid=str(busy.pid), zone="dram")[0])
    assert max(seen) > 0
    assert seen[-1] == 0


def test_psys_is_a_zone_of_its_own_beside_the_others(kepler: Path, tmp_path: Path) -> None:
    psys = replace(register(1), name="psys")
    with powercap_in(tmp_path, [register(0), register(0, dram=True), psys]) as powercap:
        program = exporter(kepler, powercap, free_port(), tmp_path / "log")
        with program.running():
            body = parse(program.body())
    zones = {s.labels["zone"]: s.value for s in body if s.metric == meter.RAW}
    assert set(zones) == {"package", "dram", "psys"}
    assert zones["psys"] == pytest.approx(psys.start_uj / MICRO, abs=2_000)
