"""Kepler 0.5 to 0.9: simulated and hostile fleets against their joules, whole and in pieces."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.demo.fleet import Fleet, simulate
from pipeline.demo.meters import LegacyMeter, Meters
from pipeline.demo.transport import FleetTransport
from pipeline.transforms.energy import Energy
from pipeline.window import HOUR, Window
from tests.examples import examples
from tests.test_additivity import QUICK, pieces
from tests.transforms.made import SCRAPED, Points, differences, joined, where
from tests.transforms.made_legacy import HOUR_SECONDS, KINDS, START_UTC, Made, OnlyTotals, folded_energy


def legacy_fleet(kind: str, seed: int, hours: int, meter: LegacyMeter, **scraped: float) -> Fleet:
    spec = KINDS[kind](seed, START_UTC, hours, nodes=2, pods_per_node=4)
    # a Kepler that lives for less than a scrape leaves no trace: its restart is not seen
    return simulate(replace(spec, double_restarts=0, meters=(Meters(legacy=meter),) * 2, **scraped))


METERS = {
    "0.5.2": LegacyMeter(version="0.5.2", build_info=False, idle=False),
    "0.7.3": LegacyMeter(version="0.7.3", honor_labels=True),
    "0.7.8": LegacyMeter(version="0.7.8", skips_wraps=True),
    "0.9.0": LegacyMeter(version="0.9.0"),
}


@pytest.mark.parametrize("kind", ["steady", "churning", "restarting"])
@pytest.mark.parametrize("version", sorted(METERS))
def test_p8_node_hours_are_within_half_a_percent_of_the_truth(kind: str, version: str) -> None:
    """Within 1 % where Kepler restarted: what power did while nothing counted is known to nobody."""
    fleet = legacy_fleet(kind, 21, 3, METERS[version])
    energy = folded_energy(FleetTransport(fleet), fleet.spec.window)
    truth = {
        (row["hour_utc"], row["node"], row["component"]): row["active_joules"] + row["idle_joules"]
        for row in fleet.truth_nodes.to_pylist()
    }
    rows = energy.nodes.to_pylist()
    assert len(rows) == len(truth) == 3 * 2 * 2
    assert (sum(row["resets"] for row in rows) > 0) == (kind == "restarting")
    for row in rows:
        exact = truth[row["hour_utc"], row["node"], row["component"]]
        assert row["metered_joules"] == pytest.approx(exact, rel=1e-2 if row["resets"] else 5e-3)
        assert row["check"] is None
        assert abs(row["residual_joules"]) <= 0.05 * row["metered_joules"]
        parts = sum(row[f"{part}_joules"] for part in ("workload", "system", "idle", "residual"))
        assert parts == pytest.approx(row["metered_joules"], rel=1e-9)


Joules = dict[tuple[object, ...], float]


def pod_joules(fleet: Fleet, energy: Energy, *, by_component: bool) -> tuple[Joules, Joules]:
    """Of every pod-hour, what was found and what is true."""
    uids = {pod.uid: f"{pod.namespace}/{pod.name}" for pod in fleet.pods}
    found, truth = Joules(), Joules()
    for sums, rows in ((found, where(energy.rows, kind="workload")), (truth, fleet.truth_pods.to_pylist())):
        for row in rows:
            key = row["hour_utc"], uids.get(row["pod_uid"], row["pod_uid"]), row["component"] if by_component else None
            sums[key] = sums.get(key, 0.0) + row["energy_joules"]
    return found, truth


def test_p8_long_lived_pods_get_their_own_joules() -> None:
    fleet = legacy_fleet("steady", 3, 2, METERS["0.9.0"])
    found, truth = pod_joules(fleet, folded_energy(FleetTransport(fleet), fleet.spec.window), by_component=True)
    assert len(truth) == 2 * 2 * 2 * 4
    assert found == pytest.approx(truth, rel=1e-2, abs=1.0)


@pytest.mark.parametrize("version", ["0.7.3", "0.7.8", "0.9.0"])
def test_p8_pods_of_which_only_totals_are_left_get_their_joules_whatever_the_release_did_to_them(version: str) -> None:
    fleet = legacy_fleet("steady", 3, 2, METERS[version])
    energy = folded_energy(OnlyTotals(fleet), fleet.spec.window)
    assert {row["check"] for row in energy.nodes.to_pylist()} == {None}
    found, truth = pod_joules(fleet, energy, by_component=False)
    assert len(truth) == 2 * 2 * 4
    assert found == pytest.approx(truth, rel=1e-2, abs=1.0)


def assert_same(whole: Energy, parts: Energy) -> None:
    """Equal tables; withheld system rows have no key of their own, so that those are compared in order."""
    nothing = whole.withheld.slice(0, 0)
    assert differences(replace(whole, withheld=nothing), replace(parts, withheld=nothing)) == []
    one, other = (sorted(energy.withheld.to_pylist(), key=str) for energy in (whole, parts))
    assert [row.pop("energy_joules") for row in one] == pytest.approx([row.pop("energy_joules") for row in other])
    assert one == other


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(QUICK, max_examples=examples(8))
@given(seed=st.integers(0, 10_000), scraped=st.sampled_from(SCRAPED), cuts=st.lists(st.integers(1, 2), min_size=1))
def test_p2_a_fleet_of_old_keplers_folded_in_pieces_gives_the_tables_of_the_whole(
    kind: str, seed: int, scraped: dict[str, float], cuts: list[int]
) -> None:
    fleet = legacy_fleet(kind, seed, 3, METERS["0.7.3"], **scraped)
    first = fleet.spec.window.start
    transport = FleetTransport(fleet)
    whole = folded_energy(transport, fleet.spec.window)
    windows = [Window(first + HOUR * begin, first + HOUR * (begin + hours)) for begin, hours in pieces(cuts, 3)]
    assert whole.rows.num_rows > 0
    assert_same(whole, joined([folded_energy(transport, window) for window in windows[::-1]]))


def hostile(seed: int) -> Made:
    """Sockets and containers without manners: any spacing, drop, gap, absence or name, from one seed."""
    rng = np.random.default_rng(seed)
    made = Made()
    spacings = rng.choice([15, 30, 60, 299.5, 600, 600.001, 1_300, 4_000], size=400, p=[0.2, 0.5, 0.2, *[0.02] * 5])
    at = np.cumsum(spacings) - 1_200 - rng.integers(0, 60)
    at = at[at < 4 * HOUR_SECONDS + 900]

    def counter(watts: float, drops: float) -> Points:
        value, last, points = 0.0, at[0], []
        for second in at:
            value += watts * rng.uniform(0, 2) * (second - last)
            last = second
            value = rng.uniform(0, 50) if rng.random() < drops else value
            if rng.random() < 0.97:
                points.append((float(second), round(value, 6)))
        begin, end = sorted(rng.integers(0, len(points) + 1, 2).tolist())
        return points[begin:end] if rng.random() < 0.3 else points

    drops = float(rng.choice([0, 0, 0.01, 0.05]))
    for component in ("package", "dram")[: int(rng.integers(1, 3))]:
        for socket in range(int(rng.integers(1, 4))):
            made.node(counter(60, drops), "dynamic", str(socket), component)
            if rng.random() < 0.7:
                made.node(counter(40, drops), "idle", str(socket), component)
        for index in range(int(rng.integers(1, 5))):
            points, named = counter(8, 0.02), int(rng.integers(0, 100))
            made.container(f"c{index}", points[:named], None, None, component)
            made.container(f"c{index}", points[named:], f"p{index % 2}", "lab", component)
    if rng.random() < 0.5:
        made.total("c8", counter(15, 0.02), "p8").version("v0.7.3", at[::2].tolist())
    return made


@settings(QUICK, max_examples=examples(12))
@given(seed=st.integers(0, 1_000_000), cuts=st.lists(st.integers(1, 3), min_size=1))
def test_p2_hostile_sockets_and_containers_folded_in_pieces_give_the_tables_of_the_whole(
    seed: int, cuts: list[int]
) -> None:
    made = hostile(seed)
    whole = made.fold(0, 4)
    assert_same(whole, joined([made.fold(first, hours) for first, hours in pieces(cuts, 4)][::-1]))


@QUICK
@given(seed=st.integers(0, 1_000_000))
def test_p1_hostile_sockets_and_containers_add_up_and_give_nothing_negative(seed: int) -> None:
    energy = hostile(seed).fold(0, 4)
    values = energy.rows["energy_joules"].to_numpy()
    assert (values >= 0).all()
    assert np.isfinite(values).all()
    for row in energy.nodes.to_pylist():
        if row["metered_joules"] is not None:
            parts = sum(row[f"{part}_joules"] or 0.0 for part in ("workload", "system", "idle", "residual"))
            assert parts == pytest.approx(row["metered_joules"], rel=1e-9, abs=1e-9)
