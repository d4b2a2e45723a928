"""The real Kepler 0.9.0 on registers of known energy and pods of a made API: the facts that its fold rests on.

It refreshes by itself every 3 s. Kepler is started half an interval before a scrape, so each scrape sees the refresh
before it, and what one counter shows tells when that was for all of them.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.demo.binaries import PrometheusBinary
from pipeline.demo.servers import free_port
from pipeline.sources.meters import kepler_legacy as meter
from pipeline.starts import UNKNOWN
from pipeline.transforms.folded import Folded
from pipeline.transforms.legacy import fold_legacy
from pipeline.units import MS_PER_MINUTE
from pipeline.window import Clock
from tests.exporters.driving import Scraper, Series, burner, scraping
from tests.exporters.kepler_legacy import NODE, REFRESH_SECONDS, Machine
from tests.exporters.kubernetes import Pod, api
from tests.exporters.powercap import Register, register

pytestmark = pytest.mark.real
LOG = logging.getLogger(__name__)  # what was measured: --log-cli-level=INFO shows it

MAX_GAP_MS = 10 * MS_PER_MINUTE
JITTER_JOULES = 15.0  # 0.1 s of the machine: how late a refresh on busy cores may be
API, QUEUE = "a" * 64, "b" * 64  # containers: one whose pod the API tells, and one that nobody knows
POD = Pod("shop", "web-1", "api", API)
NODES = [meter.NODE.format(component) for component in ("package", "dram", "other")]
CONTAINERS = [meter.CONTAINER.format(component) for component in ("package", "dram", "other")]
PACKAGE = NODES[0]
CPU_TIME = "kepler_container_bpf_cpu_time_ms_total"


@dataclass(frozen=True)
class Drive:
    """What Kepler exposed on a machine, as Prometheus saw it and as the product folds it."""

    machine: Machine
    folded: Folded
    restart_ms: float
    all: dict[str, list[Series]]

    def one(self, metric: str, *, second: bool = False, **labels: str) -> Series:
        """The one series of that name with these labels, before the restart or after it."""
        [found] = [s for s in self.all[metric] if labels.items() <= s.labels.items()]
        own = (found.stamps_ms > self.restart_ms) == second
        return Series(found.labels, found.stamps_ms[own], found.values[own])

    def register(self, component: str, socket: str) -> Register:
        """The register that a node series counts."""
        folder = f"intel-rapl:{socket}" + (f"/intel-rapl:{socket}:0" if component == "dram" else "")
        [found] = [one for one in self.machine.powercap.registers if one.folder == folder]
        return found

    def fed(self, one: Register, series: Series, phase_ms: float) -> NDArray[np.float64]:
        """What a register counted between the refreshes that these scrapes see."""
        edges = series.stamps_ms - phase_ms
        return np.array([self.machine.powercap.joules_of(one, a, b) for a, b in pairwise(edges)])

    def phase_ms(self, socket: str, rises: NDArray[np.float64], *, second: bool = False) -> float:
        """How long before each scrape the refresh was, from what a package counted."""
        series, one = self.one(PACKAGE, package=socket, mode="dynamic", second=second), self.register("package", socket)
        phases = np.arange(0, 1_000 * REFRESH_SECONDS, 10.0)
        errors = [np.abs(rises - self.fed(one, series, phase)).sum() for phase in phases]
        return float(phases[int(np.argmin(errors))])

    def used(self, component: str) -> dict[str, float]:
        """Joules of the product's consumers of a node meter."""
        meter_number = self.folded.meters.index((NODE, component))
        return {
            one.uid: float(self.folded.used.where(self.folded.used.code == code).joules.sum())
            for code, one in enumerate(self.folded.consumers)
            if one.meter == meter_number
        }

    def active(self, component: str) -> float:
        """Joules of a node meter."""
        own = self.folded.active.code == self.folded.meters.index((NODE, component))
        return float(self.folded.active.where(own).joules.sum())


def watched(machine: Machine, scraper: Scraper, restart_ms: float) -> Drive:
    samples = meter.read(scraper.transport, [], scraper.start_ms, round(time.time() * 1_000))
    names = [*NODES, *CONTAINERS, meter.TOTAL, meter.BUILD, CPU_TIME, "kepler_node_info"]
    found = {name: scraper.series(name + "{}") for name in names}
    return Drive(machine, fold_legacy(samples, MAX_GAP_MS, UNKNOWN), restart_ms, found)


@pytest.fixture(scope="module")
def drive(
    kepler_legacy: Path, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: Clock
) -> Iterator[Drive]:
    """Two sockets, of which the first wraps; one container of a known pod and one of none; a restart."""
    folder = tmp_path_factory.mktemp("kepler_legacy")
    with ExitStack() as stack:
        port = free_port()
        scraper = stack.enter_context(scraping(prometheus_binary, folder / "prometheus", port, REFRESH_SECONDS, clock))
        wraps = scraper.middle_seconds(REFRESH_SECONDS, 20)
        registers = [
            register(0, wraps_after_seconds=wraps),
            register(0, dram=True),
            register(1),
            register(1, dram=True),
        ]
        machine = Machine.of(folder / "machine", registers)
        stack.enter_context(machine.powercap)
        machine.contain({API: stack.enter_context(burner()), QUEUE: stack.enter_context(burner())})
        program = machine.exporter(kepler_legacy, port, api=stack.enter_context(api([POD])))
        time.sleep(scraper.middle_seconds(REFRESH_SECONDS, 0))  # half an interval before a scrape
        with program.running():
            scraper.await_scrapes(10)
        restart_ms = time.time() * 1_000
        time.sleep(scraper.middle_seconds(REFRESH_SECONDS, 0))
        with program.running():
            scraper.await_scrapes(6)
        yield watched(machine, scraper, restart_ms)


@pytest.fixture(scope="module")
def standalone(
    kepler_legacy: Path, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: Clock
) -> Iterator[Drive]:
    """One socket, two containers, no Kubernetes, and idle energy exposed."""
    folder = tmp_path_factory.mktemp("kepler_legacy_alone")
    with ExitStack() as stack:
        port = free_port()
        scraper = stack.enter_context(scraping(prometheus_binary, folder / "prometheus", port, REFRESH_SECONDS, clock))
        machine = Machine.of(folder / "machine", [register(0), register(0, dram=True)])
        stack.enter_context(machine.powercap)
        machine.contain({API: stack.enter_context(burner()), QUEUE: stack.enter_context(burner())})
        program = machine.exporter(kepler_legacy, port, "--expose-estimated-idle-power=true")
        time.sleep(scraper.middle_seconds(REFRESH_SECONDS, 0))
        with program.running():
            scraper.await_scrapes(10)
        yield watched(machine, scraper, np.inf)


def rises(series: Series) -> NDArray[np.float64]:
    return np.diff(series.values)


@pytest.mark.parametrize(("component", "socket"), [("package", "1"), ("dram", "0"), ("dram", "1")])
def test_a_node_counter_rises_by_the_fed_joules_and_starts_at_zero(drive: Drive, component: str, socket: str) -> None:
    phase = drive.phase_ms("1", rises(drive.one(PACKAGE, package="1", mode="dynamic")))
    series = drive.one(meter.NODE.format(component), package=socket, mode="dynamic")
    fed = drive.fed(drive.register(component, socket), series, phase)
    LOG.info("%s %s: fed %.2f J, counted %.2f J", component, socket, fed.sum(), rises(series).sum())
    assert len(fed) >= 8
    assert rises(series) == pytest.approx(fed, abs=JITTER_JOULES)
    assert rises(series).sum() == pytest.approx(fed.sum(), abs=JITTER_JOULES)
    assert series.values[0] < 2 * fed[0] + JITTER_JOULES  # not the register's 175 kJ


def test_the_refresh_in_which_a_register_wraps_is_lost(drive: Drive) -> None:
    phase = drive.phase_ms("1", rises(drive.one(PACKAGE, package="1", mode="dynamic")))
    series = drive.one(PACKAGE, package="0", mode="dynamic")
    fed = drive.fed(drive.register("package", "0"), series, phase)
    [lost] = np.flatnonzero(rises(series) == 0)
    LOG.info("lost %.1f of %.1f J", fed[lost], fed.sum())
    assert np.delete(rises(series), lost) == pytest.approx(np.delete(fed, lost), abs=JITTER_JOULES)
    assert fed[lost] > 100


def test_all_counters_start_again_from_zero_with_kepler(drive: Drive) -> None:
    series = [one for name in (*NODES, *CONTAINERS, meter.TOTAL) for one in drive.all[name]]
    for one in series:
        after = one.values[one.stamps_ms > drive.restart_ms]
        assert after[0] <= max(one.values[one.stamps_ms < drive.restart_ms][-1] / 2, 0)


def test_the_product_loses_the_wrap_and_the_restart_and_nothing_else(drive: Drive) -> None:
    first, second = (drive.one(PACKAGE, package="1", mode="dynamic", second=two) for two in (False, True))
    phases = [drive.phase_ms("1", rises(one), second=one is second) for one in (first, second)]
    known = 0.0
    for socket in ("0", "1"):
        one = drive.register("package", socket)
        known += sum(drive.fed(one, s, phase).sum() for s, phase in zip((first, second), phases, strict=True))
        known += 0 if second.values[0] == 0 else drive.machine.powercap.joules_of(one, *before(second, phases[1]))
    wrapped = drive.one(PACKAGE, package="0", mode="dynamic")
    lost = float(drive.fed(drive.register("package", "0"), wrapped, phases[0])[rises(wrapped) == 0].sum())
    LOG.info(
        "fed while counted %.1f J, of which %.1f J in the wrap; folded %.1f J", known, lost, drive.active("package")
    )
    assert drive.active("package") == pytest.approx(known - lost, abs=2 * JITTER_JOULES)
    assert len(drive.folded.restarts.stamp_ms) == len(drive.folded.meters) == 2
    assert len(drive.folded.idle.code) == 0  # not exposed: unknown, and not 0


def before(series: Series, phase_ms: float) -> tuple[float, float]:
    """The refresh interval that ends where the first scrape saw it."""
    end = float(series.stamps_ms[0]) - phase_ms
    return end - 1_000 * REFRESH_SECONDS, end


def test_containers_share_all_of_a_nodes_dynamic_energy_and_a_little_more(drive: Drive) -> None:
    """Each process is rounded up to a millijoule, each refresh."""
    for component in ("package", "dram"):
        used, active = drive.used(component), drive.active(component)
        LOG.info("%s: containers %.2f J, node %.2f J: %s", component, sum(used.values()), active, used)
        assert set(used) >= {"shop/web-1", "system_processes"}
        assert active <= sum(used.values()) < 1.01 * active


def test_a_containers_share_is_its_cpu_time_in_each_refresh(drive: Drive) -> None:
    names = [str(one.labels["container_id"]) for one in drive.all[CONTAINERS[0]]]
    stamps = drive.one(PACKAGE, package="1", mode="dynamic").stamps_ms

    def shares(metric: str, **labels: str) -> NDArray[np.float64]:
        series = [drive.one(metric, container_id=name, **labels) for name in names]
        risen = np.array([rises(one.at(stamps)) for one in series])
        return np.asarray(risen / risen.sum(axis=0))

    joules = shares(CONTAINERS[0], mode="dynamic")
    assert joules.shape == (3, len(stamps) - 1)
    assert joules == pytest.approx(shares(CPU_TIME), abs=0.001)


def test_labels_are_those_the_reader_expects(drive: Drive) -> None:
    own = {"__name__", "job", "instance"}
    labels = {name: {frozenset(set(s.labels) - own) for s in series} for name, series in drive.all.items()}
    for name in NODES:
        assert labels[name] == {frozenset({"package", "mode", "source", "exported_instance"})}
        assert {s.labels["exported_instance"] for s in drive.all[name]} == {NODE}
        assert {s.labels["source"] for s in drive.all[name]} == {"rapl-sysfs"}
    named = {"container_id", "container_name", "container_namespace", "pod_name", "mode"}
    for name in CONTAINERS:
        assert labels[name] == {frozenset(named | {"source"})}
    assert labels[meter.TOTAL] == {frozenset(named)}  # an empty source is none
    pod = drive.one(CONTAINERS[0], container_id=API).labels
    assert (pod["container_namespace"], pod["pod_name"], pod["container_name"]) == ("shop", "web-1", "api")
    assert {s.labels["version"] for s in drive.all[meter.BUILD]} == {"v0.9.0"}


def test_idle_is_not_exposed_on_bare_metal_though_the_environment_asks_for_it(drive: Drive) -> None:
    """The flag, false by default, is written over EXPOSE_ESTIMATED_IDLE_POWER_METRICS, which the machine sets."""
    assert {s.labels["mode"] for name in (*NODES, *CONTAINERS) for s in drive.all[name]} == {"dynamic"}
    idle = [s for s in drive.all[meter.TOTAL] if s.labels["mode"] == "idle"]
    assert len(idle) >= 3
    assert all(not s.values.any() for s in idle)


def test_a_containers_total_is_package_and_dram_and_other_in_joules(drive: Drive) -> None:
    total = drive.one(meter.TOTAL, container_id=API, mode="dynamic")
    parts = sum(drive.one(name, container_id=API, mode="dynamic").values for name in CONTAINERS)
    assert total.values == pytest.approx(parts, abs=0.002)
    assert (total.values % 1).any()


def test_exposed_idle_is_a_power_once_seen_and_with_dynamic_more_than_was_fed(standalone: Drive) -> None:
    """Idle goes on at what the refresh of the least CPU time used; below that nothing is taken from it."""
    series = standalone.one(PACKAGE, mode="idle")
    idle, dynamic = rises(series), rises(standalone.one(PACKAGE, mode="dynamic").at(series.stamps_ms))
    one = standalone.register("package", "0")
    phases = np.arange(0, 1_000 * REFRESH_SECONDS, 10.0)
    errors = [np.abs(idle + dynamic - np.maximum(idle, standalone.fed(one, series, p))).sum() for p in phases]
    fed = standalone.fed(one, series, float(phases[int(np.argmin(errors))]))
    LOG.info("fed %s, idle %s, dynamic %s", fed.round(), idle.round(), dynamic.round())
    LOG.info("fed %.1f J, idle and dynamic %.1f J", fed.sum(), (idle + dynamic).sum())
    assert idle + dynamic == pytest.approx(np.maximum(idle, fed), abs=JITTER_JOULES)
    assert (np.diff(idle) < 1).all()


def test_without_kubernetes_containers_have_an_id_and_the_names_of_the_system(standalone: Drive) -> None:
    for name in (API, QUEUE):
        labels = standalone.one(CONTAINERS[0], container_id=name, mode="dynamic").labels
        assert {labels["pod_name"], labels["container_name"]} == {"system_processes"}
        assert labels["container_namespace"] == "system"


def test_the_product_counts_containers_of_no_known_pod(standalone: Drive) -> None:
    used, active = standalone.used("package"), standalone.active("package")
    LOG.info("containers %.2f J, node %.2f J: %s", sum(used.values()), active, used)
    assert {API, QUEUE} <= set(used)
    assert active <= sum(used.values()) < 1.01 * active
