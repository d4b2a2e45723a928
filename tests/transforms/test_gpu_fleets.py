"""GPU boards, hostile and simulated: in pieces as a whole, and against their joules (P1, P2 and P8)."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.demo.fleet import simulate
from pipeline.demo.meters import DcgmMeter, GpuSpec
from pipeline.demo.spec import FleetSpec
from pipeline.demo.transport import FleetTransport
from pipeline.sources.meters import dcgm
from pipeline.transforms.energy import Energy, book
from pipeline.transforms.gpus import fold_gpus
from pipeline.transforms.sheet import FoldRules
from pipeline.window import HOUR, Window
from tests.examples import examples
from tests.test_additivity import QUICK, pieces
from tests.transforms.made import START, clock, differences, joined, unowned, where
from tests.transforms.made_gpus import ACTIVITY, GAP_MS, POWER, STEADY, Boards, cut, spec_of


def hostile(seed: int) -> Boards:
    """Boards without manners: any spacing, drops, codes, holders, instances, exporters, hosts."""
    rng = np.random.default_rng(seed)
    boards = Boards()
    for board in range(int(rng.integers(1, 4))):
        for exporter in range(int(rng.integers(1, 3))):
            host = "n1" if rng.random() < 0.8 else "n2"
            spacing = rng.choice([15, 30, 30, 30, 60, 299.5, 599.999, 600, 600.001, 1_300, 4_000], size=500, p=_ODDS)
            at = np.cumsum(spacing) - 1_500 - rng.integers(0, 60)
            at = at[(at < 4 * 3_600 + 1_500) & (rng.random(len(at)) > 0.02)]
            joules = 1e6 + np.cumsum(rng.uniform(0, 600, len(at)) * np.diff(at, prepend=at[0]))
            for fall in rng.integers(0, len(at), int(rng.integers(0, 4))):
                joules[fall:] -= joules[fall] - rng.uniform(0, 3_000)
            joules[rng.random(len(at)) < 0.01] = rng.choice([0.0, 9.3e15, 5e9])
            _show(boards, rng, at, joules, {"UUID": f"GPU-{board}", "Hostname": host, "instance": f"e{exporter}:9400"})
    return boards


_ODDS = np.array([3, 8, 8, 8, 8, 1, 1, 1, 1, 0.5, 0.2]) / 39.7


def _show(boards: Boards, rng: np.random.Generator, at: np.ndarray, joules: np.ndarray, labels: dict[str, str]) -> None:
    instances = ["", "3", "4"][: int(rng.integers(1, 4))]
    for instance in instances if len(instances) == 1 else instances[1:]:
        mine = labels | ({"GPU_I_ID": instance, "GPU_I_PROFILE": f"{rng.integers(1, 4)}g.5gb"} if instance else {})
        edges = np.sort(rng.integers(0, len(at) + 1, 4))
        for who, (begin, end) in enumerate(zip([0, *edges], [*edges, len(at)], strict=True)):
            holder = {} if who == 1 else {"exported_pod": f"p-{rng.integers(0, 3)}", "exported_namespace": "ml"}
            if rng.random() < 0.9:
                boards.energy(
                    list(zip(at[begin:end].tolist(), joules[begin:end].tolist(), strict=True)), **mine, **holder
                )
            if rng.random() < 0.5:
                watts = rng.choice([50.0, 300.0, 1_600.0], len(at), p=[0.5, 0.49, 0.01])
                boards.add(
                    POWER, list(zip(at[begin:end].tolist(), watts[begin:end].tolist(), strict=True)), **mine, **holder
                )
        if rng.random() < 0.5:
            boards.add(ACTIVITY, [(second, float(rng.random())) for second in at.tolist()], **mine)


@settings(QUICK, max_examples=examples(12))
@given(
    seed=st.integers(0, 1_000_000),
    step_minutes=st.sampled_from([60, 30, 15, 5]),
    cuts=st.lists(st.integers(1, 3), min_size=1, max_size=3),
)
def test_p2_hostile_boards_folded_in_pieces_give_the_tables_of_the_whole(
    seed: int, step_minutes: int, cuts: list[int]
) -> None:
    boards = hostile(seed)
    whole = boards.fold(0, 4, step_minutes)
    parts = [boards.fold(first, hours, step_minutes) for first, hours in pieces(cuts, 4)]
    assert differences(whole, joined(parts[::-1])) == []
    refused = [row for first, hours in pieces(cuts, 4) for row in boards.refused(first, hours).to_pylist()]
    assert sorted(refused, key=str) == sorted(boards.refused(0, 4).to_pylist(), key=str)


@QUICK
@given(seed=st.integers(0, 1_000_000), step_minutes=st.sampled_from([60, 5]))
def test_p1_holders_and_idle_are_their_boards_to_the_last_bit(seed: int, step_minutes: int) -> None:
    energy = hostile(seed).fold(0, 4, step_minutes)
    for row in energy.nodes.to_pylist():
        assert row["check"] is None
        assert row["coverage_ratio"] <= 1
        if row["metered_joules"] is not None:
            assert row["workload_joules"] + row["idle_joules"] == row["metered_joules"]
            assert (row["system_joules"], row["workload_scale"]) == (0.0, 1.0)
    assert (energy.rows["energy_joules"].to_numpy() >= 0).all()


def fold_fleet(spec: FleetSpec) -> tuple[Energy, dict[tuple[datetime, str], tuple[float, float]]]:
    """A simulated fleet's GPU rows, and the truth by hour and node: held and idle joules."""
    fleet = simulate(spec)
    window = spec.window
    samples = dcgm.read(FleetTransport(fleet), [], window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS)
    energy = book(fold_gpus(samples, GAP_MS, {}), window, FoldRules("demo", GAP_MS, 60), unowned(window), None)
    rows = [row for row in fleet.truth_nodes.to_pylist() if row["component"] == "gpu"]
    return energy, {(row["hour_utc"], row["node"]): (row["active_joules"], row["idle_joules"]) for row in rows}


ALL = (GpuSpec("exclusive"), GpuSpec("mig"), GpuSpec("shared"))
RELOADED = (GpuSpec("exclusive", driver_reloads=1), *ALL[1:])


@pytest.mark.parametrize(
    "meter",
    [
        DcgmMeter(),
        DcgmMeter(dialect="plain", hostname_label="hostname"),
        DcgmMeter(dialect="pod_name", sentinels=5),
        DcgmMeter(activity=True, collect_seconds=10),
    ],
    ids=["exported", "plain", "pod_name", "activity"],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_p8_node_hours_are_within_half_a_percent_of_the_truth(meter: DcgmMeter, seed: int) -> None:
    energy, truth = fold_fleet(spec_of(meter, seed, *ALL))
    assert energy.nodes.num_rows == len(truth) == 3
    for row in energy.nodes.to_pylist():
        assert row["metered_joules"] == pytest.approx(sum(truth[row["hour_utc"], row["node"]]), rel=0.005)
        assert row["cross_ratio"] == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_p8_power_alone_is_within_two_percent_of_the_truth(seed: int) -> None:
    energy, truth = fold_fleet(spec_of(DcgmMeter(energy_counter=False), seed, *ALL))
    for row in energy.nodes.to_pylist():  # a second's power, seen twice a minute
        assert row["metered_joules"] == pytest.approx(sum(truth[row["hour_utc"], row["node"]]), rel=0.02)


@pytest.mark.parametrize("seed", [3, 5, 6])
def test_p8_a_driver_reload_costs_at_most_five_seconds_of_its_board(seed: int) -> None:
    energy, truth = fold_fleet(spec_of(DcgmMeter(collect_seconds=1), seed, *RELOADED))
    assert sum(row["resets"] for row in energy.nodes.to_pylist()) == 1
    for row in energy.nodes.to_pylist():
        error = row["metered_joules"] - sum(truth[row["hour_utc"], row["node"]])
        assert abs(error) <= 360 * 5 * row["resets"] + 1_050  # DCGM's own second on three boards


def test_p8_holders_of_whole_boards_get_what_they_hold() -> None:
    energy, truth = fold_fleet(spec_of(DcgmMeter(collect_seconds=1), 4, GpuSpec("exclusive")))
    for row in energy.nodes.to_pylist():
        active, _ = truth[row["hour_utc"], row["node"]]
        assert row["workload_joules"] == pytest.approx(active, rel=0.01)


@settings(QUICK, max_examples=4)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(1, 2), max_size=2))
def test_p2_a_simulated_fleets_boards_folded_in_pieces_give_the_tables_of_the_whole(seed: int, cuts: list[int]) -> None:
    spec = replace(
        spec_of(DcgmMeter(sentinels=3), seed, *RELOADED), missed_scrape_ratio=0.05, silences=2, lead_minutes=30
    )
    transport = FleetTransport(simulate(spec), part_samples=50)

    def fold(window: Window) -> Energy:
        samples = dcgm.read(transport, [], window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS)
        return book(fold_gpus(samples, GAP_MS, {}), window, FoldRules("demo", GAP_MS, 60), unowned(window), None)

    first = spec.window.start
    parts = [fold(Window(first + HOUR * begin, first + HOUR * (begin + hours))) for begin, hours in pieces(cuts, 3)]
    assert differences(fold(spec.window), joined(parts)) == []


def test_only_hours_with_energy_have_rows() -> None:
    boards = Boards().held(cut(STEADY, -9e9, clock("10:30")), "p-0")
    assert {row["hour_utc"] for row in where(boards.fold(0, 2).rows)} == {START}
    assert boards.fold(1).nodes.num_rows == 0
    assert START + timedelta(hours=1) not in boards.fold(0, 2).nodes["hour_utc"].to_pylist()
