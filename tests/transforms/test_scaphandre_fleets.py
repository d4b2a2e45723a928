"""Scaphandre against simulated truth, and cut into pieces: promises P1, P2 and P8 for this meter."""

from collections import defaultdict
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pipeline.demo.fleet import Fleet, FleetSpec, simulate
from pipeline.demo.meters import Meters, ScaphandreMeter
from pipeline.demo.transport import FleetTransport
from pipeline.sources.meters import scaphandre
from pipeline.transforms.energy import Energy, book
from pipeline.transforms.scaphandre import fold_scaphandre
from pipeline.transforms.sheet import FoldRules
from pipeline.window import HOUR, Window
from tests.examples import examples
from tests.test_additivity import QUICK
from tests.transforms.made import AMD_RANGE, MAX_GAP_SECONDS, PACKAGE_RANGE, SCRAPED, differences, joined, unowned
from tests.transforms.made_scaphandre import GAP_MS, MadeScaphandre

START = datetime(2026, 11, 3, 22, tzinfo=UTC)
CUTS = st.sets(st.integers(1, 3), min_size=1)


def fleet_of(seed: int, meter: ScaphandreMeter, hours: int = 3, **more: object) -> Fleet:
    spec = FleetSpec(
        seed, START, hours, sockets=(2, 1), pods_per_node=4, meters=(Meters(scaphandre=meter),) * 2, **more
    )
    return simulate(spec)


def fold(fleet: Fleet, window: Window, part_samples: int | None = None, step_minutes: int = 60) -> Energy:
    transport = FleetTransport(fleet, part_samples)
    samples = scaphandre.read(transport, [], window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS)
    rules = FoldRules("demo", GAP_MS, step_minutes)
    return book(fold_scaphandre(samples, GAP_MS, {}), window, rules, unowned(window), None)


VERSIONS = {
    "1.0": {"meter": ScaphandreMeter()},
    "0.5": {"meter": ScaphandreMeter(version="0.5.0")},
    "psys": {"meter": ScaphandreMeter(), "platform_shares": (0.2, 0.2)},
    "without labels": {"meter": ScaphandreMeter(kubernetes_labels=False)},
    "guests": {"meter": ScaphandreMeter(), "guests": (1, 2)},
    "churn": {"meter": ScaphandreMeter(), "rollout_ratio": 0.5, "jobs_per_hour": 6.0},
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_p8_node_hours_are_within_half_a_percent_of_truth(version: str, seed: int) -> None:
    fleet = fleet_of(seed, **VERSIONS[version])
    energy = fold(fleet, fleet.spec.window)
    truth = {(row["hour_utc"], row["node"], row["component"]): row for row in fleet.truth_nodes.to_pylist()}
    metered: dict[object, float] = defaultdict(float)
    active: dict[object, list[float]] = defaultdict(lambda: [0.0, 0.0])
    hosts = {node.host: node.name for node in fleet.nodes}  # where no pod names the node
    rows = energy.nodes.to_pylist()
    assert len(rows) == 2 * 2 * 3
    for row in rows:
        true = truth[row["hour_utc"], hosts.get(row["node"], row["node"]), row["component"]]
        assert row["metered_joules"] == pytest.approx(true["active_joules"] + true["idle_joules"], rel=0.005)
        assert (row["check"], row["coverage_ratio"]) == (None, pytest.approx(1))
        metered[row["hour_utc"], row["node"]] += row["metered_joules"]
        if version != "0.5" or row["component"] == "package":  # 0.5 tells nothing of dram
            spent = active[row["hour_utc"], row["node"]]
            spent[0] += row["metered_joules"] - row["idle_joules"]
            spent[1] += true["active_joules"]
    for ours, true in active.values():  # processes not yet seen twice have no power: short jobs are lost to idle
        assert ours == pytest.approx(true, rel=0.03 if version == "churn" else 0.01)
    assert energy.withheld.num_rows == 0


def test_p8_pods_and_guests_get_what_they_used_by_pod_and_by_name() -> None:
    fleet = fleet_of(3, ScaphandreMeter(), guests=(1, 0))
    energy = fold(fleet, fleet.spec.window)
    truth: dict[object, float] = defaultdict(float)
    for row in fleet.truth_pods.to_pylist():
        truth[row["hour_utc"], row["pod"]] += row["energy_joules"] * (row["component"] in ("package", "dram"))
    for row in fleet.truth_processes.to_pylist():
        if row["vm_name"] is not None and row["component"] in ("package", "dram"):
            truth[row["hour_utc"], row["vm_name"]] += row["energy_joules"]
    ours: dict[object, float] = defaultdict(float)
    for row in energy.rows.to_pylist():
        if row["kind"] == "workload":
            ours[row["hour_utc"], row["pod"] or row["workload"]] += row["energy_joules"]
    assert set(ours) == set(truth)
    assert [key for key, joules in ours.items() if abs(joules / truth[key] - 1) > 0.02] == []


@settings(QUICK, max_examples=examples(10))
@given(
    seed=st.integers(0, 10_000),
    version=st.sampled_from(["1.0.2", "0.5.0"]),
    frozen=st.sampled_from([None, (0.9, 1.05), (0.5, 2.2)]),
    scraped=st.sampled_from(SCRAPED),
    cuts=CUTS,
    part_samples=st.sampled_from([None, 50]),
    step_minutes=st.sampled_from([60, 5]),
)
def test_p2_a_fleet_folded_in_pieces_gives_the_tables_of_the_whole(
    seed: int, version: str, frozen: tuple[float, float] | None, scraped: dict[str, float], cuts: set[int],
    part_samples: int | None, step_minutes: int,
) -> None:  # fmt: skip
    meter = ScaphandreMeter(version=version, frozen_hours=frozen)
    fleet = fleet_of(seed, meter, 4, jobs_per_hour=6.0, silences=2, guests=(1, 0), **scraped)
    first = fleet.spec.window.start
    edges = [0, *sorted(cuts), 4]
    parts = [
        fold(fleet, Window(first + HOUR * begin, first + HOUR * end), part_samples, step_minutes)
        for begin, end in pairwise(edges)
    ]
    whole = fold(fleet, fleet.spec.window, None, step_minutes)
    assert whole.rows.num_rows > 0
    assert differences(whole, joined(parts[::-1])) == []


class Hostile:
    """Scaphandre without manners: any spacing, standstills, wraps, reboots, holes, labels that come and go."""

    SPACINGS = (15, 30, 30, 30, 60, 60, 299.5, 300, 599.999, 600, 600.001, 1_300, 3_600)
    ODDS = (3, 8, 8, 8, 8, 8, 1, 1, 1, 1, 1, 0.4, 0.2)

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.made = MadeScaphandre()
        for host in range(int(self.rng.integers(1, 3))):
            self._host(f"10.0.0.{host}:8080")

    def _chance(self, odds: float) -> bool:
        return bool(self.rng.random() < odds)

    def _host(self, instance: str) -> None:
        spacings = self.rng.choice(self.SPACINGS, size=400, p=np.array(self.ODDS) / sum(self.ODDS))
        at = np.cumsum(spacings) - 1_200 - self.rng.integers(0, 60)
        at = np.round(at[at < 4 * 3_600 + 900], 3)
        if self._chance(0.5):
            at = np.unique(np.concatenate((at, [0, 3_600, 7_200])))
        held = at.copy()  # what each scrape shows: its own second, or that of a standstill's beginning
        for begin in self.rng.integers(0, len(at), int(self.rng.integers(0, 4))):
            end = begin + int(self.rng.integers(2, 30))
            held[begin:end] = held[begin]
        wraps = float(self.rng.choice([AMD_RANGE, PACKAGE_RANGE]))
        watts = float(self.rng.choice([40, 150, 400]))
        self._registers(at, held, watts, wraps, instance)
        holes = set(self.rng.choice(at, int(self.rng.integers(0, 12))).tolist())
        for pid in range(int(self.rng.integers(1, 6))):
            self._process(pid, [s for s in at.tolist() if s not in holes], watts / 5, instance)
        if self._chance(0.7):
            seconds = [s for s in at.tolist() if self._chance(0.9)]
            self.made.add(
                scaphandre.VERSION, [(s, float(self.rng.choice([0.5, 1.02]))) for s in seconds], instance=instance
            )

    def _registers(self, at: np.ndarray, held: np.ndarray, watts: float, wraps: float, instance: str) -> None:
        kinds = ["socket"] * int(self.rng.integers(1, 3)) + ["dram"] * int(self.rng.integers(0, 2))
        for number, kind in enumerate(kinds):
            start, reboot = self.rng.uniform(0, wraps), self.rng.uniform(-3_600, 6 * 3_600)
            points = [
                (float(s), round((start + watts * (h + 2_000) if h < reboot else watts * (h - reboot)) % wraps, 6))
                for s, h in zip(at, held, strict=True)
                if self._chance(0.995)
            ]  # fmt: skip
            if kind == "socket":
                self.made.socket(points, str(number), instance)
            else:
                self.made.dram(points, str(number), instance)
        if self._chance(0.3):
            points = [(float(s), 1e5 + 2.5 * watts * float(h + 2_000)) for s, h in zip(at, held, strict=True)]
            self.made.add(scaphandre.HOST, points, 1e6, instance=instance, value_source="powercap_rapl_psys")

    def _process(self, pid: int, at: list[float], watts: float, instance: str) -> None:
        begin, end = sorted(self.rng.integers(0, len(at) + 1, 2).tolist())
        at = at[begin:end] if self._chance(0.6) else at
        points = [(s, float(watts * self.rng.uniform(0, 2))) for s in at]
        cut = int(self.rng.integers(0, len(at) + 1))
        pod = {"kubernetes_pod_name": f"p{pid % 2}", "kubernetes_pod_namespace": "a"}
        node = {"kubernetes_node_name": "w-" + instance[7]} if self._chance(0.7) else {}
        kinds = [
            {},
            {"container_id": f"c{pid}"},
            pod | node,
            pod | node | {"container_id": f"c{pid}"},
            {"vmname": "vm"},
        ]
        for part in (points[:cut], points[cut:]):
            labels = kinds[int(self.rng.integers(0, len(kinds)))]
            self.made.process(pid, part, str(self.rng.choice(["app", "app", "other"])), instance=instance, **labels)
        told = {"container_id": f"containerd://c{pid}", "uid": f"u{pid % 2}", "namespace": "a", "pod": f"p{pid % 2}"}
        if self._chance(0.5):
            self.made.add(scaphandre.CONTAINERS, [(s, 1.0) for s in at if self._chance(0.1)], **told)


@settings(QUICK, max_examples=examples(25))
@given(seed=st.integers(0, 1_000_000), step_minutes=st.sampled_from([60, 5]), cuts=CUTS)
def test_p1_and_p2_hostile_samples_add_up_and_may_be_cut_anywhere(seed: int, step_minutes: int, cuts: set[int]) -> None:
    made = Hostile(seed).made
    whole = made.fold(0, 4, step_minutes)
    edges = [0, *sorted(cuts), 4]
    parts = [made.fold(begin, end - begin, step_minutes) for begin, end in pairwise(edges)]
    assert differences(whole, joined(parts[::-1])) == []
    event(f"rows: {whole.rows.num_rows > 0}, withheld: {whole.withheld.num_rows > 0}")
    assert (whole.rows["energy_joules"].to_numpy() >= 0).all()
    for row in whole.nodes.to_pylist():
        if row["metered_joules"] is not None:
            parts_joules = [row[f"{part}_joules"] or 0.0 for part in ("workload", "system", "idle", "residual")]
            assert sum(parts_joules) == pytest.approx(row["metered_joules"], rel=1e-9, abs=1e-6)
            assert row["coverage_ratio"] <= 1 + 1e-9
            assert row["metered_joules"] <= 2_000 * 2 * 3_600


def test_the_gap_of_these_tests_is_the_products() -> None:
    assert GAP_MS == MAX_GAP_SECONDS * 1000 == 600_000
