"""What processes used before their first power and after their last: by hand, then simulated fleets and their joules.

A socket of 100 W, scraped every 30 s; the host's own process takes 10 W throughout.
"""

from collections import defaultdict

import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.meters import ScaphandreMeter
from pipeline.transforms.energy import Energy
from pipeline.transforms.scaphandre_faults import used_by_programs
from tests.transforms.made import clock, joules, only, scrapes, where
from tests.transforms.made_scaphandre import POD, MadeScaphandre, flat, fold_both_ways, register
from tests.transforms.test_scaphandre_fleets import fleet_of, fold

AT = scrapes("09:45", "12:15")


def host(watts: float = 100.0, at: list[float] = AT) -> MadeScaphandre:
    return MadeScaphandre().version(1.02, at).socket(register(watts, at)).process(1, flat(10.0, at), "kubelet")


def living(begin: str, end: str, at: list[float] = AT) -> list[float]:
    """The scrapes from one to the other, both included."""
    return [second for second in at if clock(begin) <= second <= clock(end)]


def tail(energy: Energy, hour: int = 0) -> float:
    return float(only(energy.rows, hour=hour, pod="web")["tail_joules"])


def test_half_an_interval_before_the_first_power_and_half_of_one_after_the_last_are_the_process_own() -> None:
    # found at 10:29:30, shown from 10:30 as the mean since then; shown last at 10:40
    made = host().process(7, [*flat(40.0, [clock("10:30")]), *flat(20.0, living("10:30:30", "10:40"))], **POD)
    energy = fold_both_ways(made, 0, 2)
    assert tail(energy) == pytest.approx(40 * 15 + 20 * 15)
    assert joules(energy, "shop/web") == pytest.approx(40 * 30 + 20 * 600 + 900)
    row = only(energy.nodes, hour=0)
    assert (row["metered_joules"], row["residual_joules"]) == (pytest.approx(360_000), pytest.approx(0, abs=1e-6))
    assert row["idle_joules"] == pytest.approx(90 * 3_600 - joules(energy, "shop/web"))


def test_they_lie_in_the_intervals_in_which_the_process_began_and_ended() -> None:
    # (10:59:15, 10:59:45] before (10:59:45, 11:00:15], and (11:29:45, 11:30:15]
    at = [second + 15 for second in AT]
    made = host(at=at).process(7, flat(40.0, [s for s in at if clock("11:00") < s < clock("11:30")]), **POD)
    energy = fold_both_ways(made, 0, 2)
    assert tail(energy) == pytest.approx(600)
    assert joules(energy, "shop/web") == pytest.approx(600 + 600)  # and the half of the first mean before 11:00
    assert tail(energy, hour=1) == pytest.approx(600)


def test_edges_of_one_interval_share_what_is_idle_in_it() -> None:
    # 100 W, of which 10 W and 60 W are shown throughout: 900 J are left, where 40 W x 15 s and 120 W x 15 s are wanted
    made = host().process(2, flat(60.0, AT), "busy")
    made.process(7, flat(40.0, living("10:20", "10:20")), **POD)
    made.process(8, flat(120.0, living("10:20", "10:20")), **POD | {"kubernetes_pod_name": "other"})
    energy = made.fold()
    assert tail(energy) == pytest.approx(2 * 900 / 4)
    assert only(energy.nodes)["check"] is None


def test_all_that_an_exporter_shows_when_it_starts_did_not_begin_then() -> None:
    late = living("10:20", "12:15")
    made = MadeScaphandre().version(1.02, late).socket(register(100, late)).process(2, flat(24.0, late[1:]), **POD)
    assert tail(fold_both_ways(made, 0, 2)) == 0.0


def test_an_exporters_restart_and_the_hole_of_a_wrap_are_no_edges() -> None:
    """Both hide every process for one scrape."""
    hole = clock("10:30")
    at = [second for second in AT if second != hole]
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT)).process(2, flat(24.0, at), **POD)
    assert tail(fold_both_ways(made, 0, 2)) == 0.0


@pytest.mark.parametrize(("pause", "edges"), [(600, 0), (601, 2)])
def test_a_pid_that_is_shown_again_within_max_gap_went_on(pause: int, edges: int) -> None:
    stop = clock("10:20")
    at = sorted({*AT, stop + pause})
    shown = [s for s in at if s <= stop or s >= stop + pause]
    energy = host(at=at).process(7, flat(20.0, shown), **POD).fold()
    assert (tail(energy) > 0) == (edges > 0)


def test_nothing_is_known_of_edges_beside_a_gap() -> None:
    at = [second for second in AT if not clock("10:20") < second < clock("10:31")]
    made = host(at=at).process(7, flat(20.0, [s for s in at if s <= clock("10:20")]), **POD)
    assert tail(fold_both_ways(made, 0, 2)) == 0.0


def test_processes_of_the_host_have_edges_too_and_programs_add_up_to_their_rows() -> None:
    made = host().process(5, flat(30.0, living("10:20", "10:25")), "backup")
    row = only(made.fold().rows, kind="system")
    assert (row["energy_joules"], row["tail_joules"]) == pytest.approx((36_000 + 30 * (330 + 30), 900))
    programs, used = used_by_programs(made.usage())
    of_backup = sum(used.joules[used.code == n].sum() for n, p in enumerate(programs) if p.exe == "backup")
    assert of_backup == pytest.approx(30 * 360)


def errors_percent(fleet: Fleet, energy: Energy, *components: str) -> tuple[float, float, float]:
    """All pods' error without and with edges, and added up over pods and hours with them."""
    truth: dict[object, float] = defaultdict(float)
    for row in fleet.truth_pods.to_pylist():
        truth[row["hour_utc"], row["pod"]] += row["energy_joules"] * (row["component"] in components)
    whole, tails, off = 0.0, 0.0, dict(truth)
    for row in where(energy.rows, kind="workload"):
        whole, tails = whole + row["energy_joules"], tails + row["tail_joules"]
        off[row["hour_utc"], row["pod"]] = off.get((row["hour_utc"], row["pod"]), 0.0) - row["energy_joules"]
    true, wrong = sum(truth.values()), sum(abs(joules) for joules in off.values())
    return 100 * ((whole - tails) / true - 1), 100 * (whole / true - 1), 100 * wrong / true


@pytest.mark.parametrize(("version", "components"), [("1.0.2", ("package", "dram")), ("0.5.0", ("package",))])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_p8_edges_bring_pods_that_come_and_go_nearer_to_truth(
    seed: int, version: str, components: tuple[str, ...]
) -> None:
    fleet = fleet_of(seed, ScaphandreMeter(version), 3, jobs_per_hour=20.0, rollout_ratio=0.5, crash_loops=2)
    without, with_, wrong = errors_percent(fleet, fold(fleet, fleet.spec.window), *components)
    assert without < -1
    assert abs(with_) < abs(without) / 2
    assert wrong < abs(without)
