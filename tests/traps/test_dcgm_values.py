"""dcgm-exporter: every way in which its values mislead, as the sheet's section 4 lists them."""

import pytest

from pipeline.sources.meters import dcgm
from tests.transforms.made import Points, clock, line, only, scrapes
from tests.transforms.made_gpus import POWER, Boards, by_pod, cut
from tests.transforms.made_scaphandre import flat
from tests.traps.made_kepler import HOUR_SECONDS, energies, steady

AT = scrapes("09:45", "12:15")
LIFE_JOULES = 9_817_723.0  # what a board's counter holds long after its driver was loaded
STEADY = line(100, AT, LIFE_JOULES)
SWITCH = clock("10:20:15")


def test_the_energy_counter_is_in_millijoules() -> None:
    """4, the table. 100 W for an hour are 360 kJ and not 360 MJ; a board that nobody holds is idle."""
    energy = Boards().energy(STEADY).fold()
    assert by_pod(energy) == {"idle": pytest.approx(360_000), "system": 0.0}
    row = only(energy.nodes)
    assert (row["component"], row["meter"], row["coverage_ratio"], row["check"]) == ("gpu", "dcgm", 1.0, None)
    assert row["unplaced_joules"] == 0.0


@pytest.mark.parametrize("name", dcgm.ENERGY)
def test_both_names_of_the_counter_are_read_and_never_added(name: str) -> None:
    """4, the table. 1.x calls it `dcgm_total_energy_consumption`; with the compat CSV both are there."""
    points = [(second, joules * 1000) for second, joules in STEADY]
    alone = Boards().add(name, points)
    assert only(alone.fold().nodes)["metered_joules"] == pytest.approx(360_000)
    assert only(alone.add(dcgm.ENERGY[0], points).fold().nodes)["metered_joules"] == pytest.approx(360_000)


def test_where_operators_dropped_the_energy_counter_power_holds_since_the_scrape_before() -> None:
    """4. 60 W until 10:30, 300 W from that sample on, which speaks of the 30 s before it."""
    watts = [(second, 300.0 if second >= clock("10:30") else 60.0) for second in AT]
    energy = Boards().add(POWER, watts, exported_pod="p-0").fold()
    assert by_pod(energy)["p-0"] == pytest.approx(60 * 1_770 + 300 * 1_830)
    assert only(energy.nodes)["cross_ratio"] is None


@pytest.mark.parametrize("counter", [True, False], ids=["counter", "gauge"])
def test_values_that_repeat_between_two_collections_are_neither_idleness_nor_a_leap(counter: bool) -> None:  # noqa: FBT001 # a case
    """4. Collected every 30 s, scraped every 10 s: two of three samples repeat."""
    often = scrapes("09:45", "11:15", 10)
    if counter:
        boards = Boards().held([(second, LIFE_JOULES + 100 * (second // 30 * 30)) for second in often], "p-0")
    else:
        boards = Boards().add(POWER, flat(100, often), exported_pod="p-0")
    assert by_pod(boards.fold())["p-0"] == pytest.approx(360_000)


def reloaded(since_joules: float, watts_before: float = 100.0) -> Points:
    """A counter whose driver was loaded anew before the scrape of 10:30, which shows `since_joules`."""
    before, after = [s for s in AT if s < clock("10:30")], [s for s in AT if s >= clock("10:30")]
    return [*line(watts_before, before, LIFE_JOULES), *line(100, after, since_joules)]


@pytest.mark.parametrize("gauge", [True, False], ids=["gauge", "no gauge"])
def test_what_a_driver_reload_hides_is_bridged_by_watts_and_the_gap(gauge: bool) -> None:  # noqa: FBT001 # a case
    """4, the table. 20 of the 30 s are counted after the reload; the other 1,000 J were lost with the old driver."""
    boards = Boards().energy(reloaded(2_000.0))
    if gauge:
        boards.add(POWER, flat(100, AT))
    row = only(boards.fold().nodes)
    assert (row["metered_joules"], row["resets"]) == (pytest.approx(360_000), 1)
    assert row["bridged_joules"] == pytest.approx(1_000)
    assert (row["coverage_ratio"], boards.refused().num_rows) == (1.0, 0)


def test_a_driver_reload_without_any_known_power_counts_what_the_new_counter_shows() -> None:
    """4, the table. The board is first seen a scrape before: nobody knows what it drew."""
    points = [point for point in reloaded(2_000.0) if point[0] >= clock("10:29:30")]
    row = only(Boards().energy(points).fold().nodes)
    assert row["metered_joules"] == pytest.approx(2_000 + 100 * 1_800)


def test_mig_repeats_the_board_under_every_instance_and_it_is_counted_once() -> None:
    """4 (a). Three instances show the same 100 W; slices of 3, 2 and 1 share it."""
    boards = Boards()
    for number, (pod, slices) in enumerate((("a-0", 3), ("b-0", 2), ("c-0", 1))):
        boards.held(STEADY, pod, GPU_I_ID=str(3 + number), GPU_I_PROFILE=f"{slices}g.10gb")
    found = by_pod(boards.fold())
    assert [found[pod] for pod in ("a-0", "b-0", "c-0")] == pytest.approx([180_000, 120_000, 60_000])
    assert only(boards.fold().nodes)["metered_joules"] == pytest.approx(360_000)


def test_time_slicing_repeats_the_board_and_it_is_counted_once_and_divided_evenly() -> None:
    """4 (b). With virtual GPUs every sharing pod shows the whole device."""
    boards = Boards()
    for number in range(3):
        boards.held(STEADY, f"p-{number}", vgpu=str(number))
    energy = boards.fold()
    assert by_pod(energy)["p-1"] == pytest.approx(120_000, abs=0.001)
    assert only(energy.nodes)["metered_joules"] == pytest.approx(360_000)
    assert boards.splits() == {f"ml/p-{number}": "even" for number in range(3)}


def test_a_counter_that_goes_on_under_another_pods_labels_is_given_by_the_labels_at_each_intervals_end() -> None:
    """4 (c). The new series starts at 9.8 MJ, which is no energy of its pod."""
    boards = Boards().held(cut(STEADY, -9e9, SWITCH), "one-0").held(cut(STEADY, SWITCH, 9e9), "two-0")
    found = by_pod(boards.fold())
    assert found == {
        "one-0": pytest.approx(100 * clock("10:20:00")),
        "two-0": pytest.approx(100 * (3_600 - clock("10:20:00"))),
        "idle": 0.0, "system": 0.0,
    }  # fmt: skip


def test_a_board_that_loses_its_pod_is_idle_from_then_on() -> None:
    """4 (d). With pod="" its power is nobody's."""
    boards = Boards().held(cut(STEADY, -9e9, SWITCH), "one-0").energy(cut(STEADY, SWITCH, 9e9))
    energy = boards.fold()
    # half of the interval in which it was lost is nobody's, at the free board's own power
    assert by_pod(energy)["one-0"] == pytest.approx(121_500)
    assert by_pod(energy)["idle"] == pytest.approx(238_500)


def test_a_pod_that_holds_an_idle_board_has_its_idle_power() -> None:
    """4 (d). 25 W without a single computation, held all the hour: the holder's, as a share of `whole`."""
    energy = Boards().held(line(25, AT, LIFE_JOULES), "one-0").fold()
    assert by_pod(energy) == {"one-0": pytest.approx(25 * HOUR_SECONDS), "idle": 0.0, "system": 0.0}


@pytest.mark.parametrize("code", [9223372036854775792.0, 140737488355328.0, 2147483632.0, 2147483635.0])
def test_codes_for_none_are_no_samples_and_leave_a_trace(code: float) -> None:
    """4 (e). One sample of the counter is a code: the interval around it is joined, the code is in quarantine."""
    points = [(second, code if second == clock("10:30") else value * 1000) for second, value in STEADY]
    boards = Boards().add(dcgm.ENERGY[0], points)
    assert only(boards.fold().nodes)["metered_joules"] == pytest.approx(360_000)
    row = only(boards.refused())
    assert (row["check"], row["energy_joules"], row["component"]) == ("implausible", None, "gpu")
    assert row["evidence"] == '1 refused: GPU-a: a code for "none" at 2026-11-03T10:30:00Z'


def test_idle_power_that_profiling_doubled_is_real_and_counted_as_drawn() -> None:
    """4 (f). From 10:30 on a MIG board that nobody uses draws 100 W instead of 50: no repair, it is what was drawn."""
    points = [*line(50, [s for s in AT if s <= clock("10:30")], 1e6)]
    points += [(s, points[-1][1] + 100 * (s - clock("10:30"))) for s in AT if s > clock("10:30")]
    boards = Boards()
    for instance in ("3", "4"):
        boards.energy(points, GPU_I_ID=instance, GPU_I_PROFILE="3g.20gb")
    assert by_pod(boards.fold())["idle"] == pytest.approx((50 + 100) * 1_800)


def test_a_board_is_added_to_package_and_dram_which_do_not_hold_it() -> None:
    """4 (g). RAPL of 110 W beside a board of 100: 210 W, in components of their own."""
    kepler = steady().zone(line(6, AT), line(4, AT), zone="dram")
    for series in Boards().energy(STEADY).series:
        kepler.series.append(series)
    cpu, gpu = kepler.fold(), kepler.booked("dcgm")
    assert energies(cpu) + energies(gpu) == pytest.approx((100 + 10 + 100) * HOUR_SECONDS)
    assert {row["component"] for row in gpu.rows.to_pylist()} == {"gpu"}
    assert {row["node"] for row in (*cpu.rows.to_pylist(), *gpu.rows.to_pylist())} == {"n1"}


def test_an_exporter_whose_hostname_is_its_own_pod_is_the_same_board_after_each_restart() -> None:
    """4. Older installs put the exporter's pod into Hostname; at 10:20:15 it restarts under another name."""
    boards = Boards()
    for begin, end, pod in ((-9e9, SWITCH, "dcgm-exporter-aaa"), (SWITCH, 9e9, "dcgm-exporter-bbb")):
        boards.energy(cut(STEADY, begin, end), Hostname=pod, pod=pod, node="n1", exported_pod="p-0")
    energy = boards.fold()
    row = only(energy.nodes)
    assert (row["node"], row["metered_joules"], row["coverage_ratio"]) == ("n1", pytest.approx(360_000), 1.0)
    assert by_pod(energy)["p-0"] == pytest.approx(360_000)


@pytest.mark.parametrize("option", [{}, {"container": "dcgm-exporter"}])
def test_a_plain_pod_label_is_the_exporters_where_exported_ones_are_there(option: dict[str, str]) -> None:
    """4 (dcgm-exporter#27, #85). honorLabels false: `pod` and `namespace` are the exporter's."""
    labels = {"pod": "dcgm-exporter-x", "namespace": "gpu-operator"} | option
    boards = Boards().energy(STEADY, **labels, exported_pod="p-0", exported_namespace="ml")
    row = only(boards.fold().rows, kind="workload")
    assert (row["namespace"], row["pod"]) == ("ml", "p-0")


def test_without_virtual_gpus_the_one_pod_that_is_named_has_the_whole_board() -> None:
    """4 (b), #307. Two pods share it, one arbitrary one is named: nothing in the samples tells of the other."""
    found = by_pod(Boards().held(STEADY, "p-0").fold())
    assert found == {"p-0": pytest.approx(360_000), "idle": 0.0, "system": 0.0}
