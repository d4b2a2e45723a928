"""Scaphandre: the known wrong values that no other test is named after, as the sheet's table lists them."""

import pytest

from pipeline.sources.meters import scaphandre
from pipeline.transforms.energy import Energy
from pipeline.transforms.plausibility import Ceilings
from tests.transforms.exposed import Exposed
from tests.transforms.made import PACKAGE_RANGE, Points, clock, line, only, where
from tests.transforms.made_scaphandre import POD, flat, register
from tests.traps.made_kepler import HOUR_SECONDS, SEEN, energies

APP = {"exe": "app", "cmdline": "app--run"}
WRAP = clock("10:20")  # the scrape that shows a fallen register


class Host(Exposed):
    """One host, watts and joules travelling as micro-units."""

    def __init__(self) -> None:
        super().__init__(instance="10.0.0.1:8080", job="scaphandre")

    def socket(self, points: Points, number: str = "0") -> "Host":
        """One socket's register."""
        return self.add(scaphandre.SOCKETS, [(s, joules * 1e6) for s, joules in points], socket_id=number)

    def process(self, points: Points, pid: str, **labels: str) -> "Host":
        """Power of one process."""
        told = APP | {"pid": pid} | labels
        return self.add(scaphandre.PROCESSES, [(second, watts * 1e6) for second, watts in points], **told)

    def fold(self) -> Energy:
        """The hour from 10:00."""
        return self.booked("scaphandre")


def test_at_a_wrap_process_power_is_missing_and_socket_power_is_0_and_neither_is_a_loss() -> None:
    """3.3, second row. 100 W, a pod of 30 W; at 10:20 a register has fallen, no process is there, 0 W a socket."""
    at = PACKAGE_RANGE - 100 * (WRAP - 15 - SEEN[0])
    without = [second for second in SEEN if second != WRAP]
    host = Host().socket(register(100, SEEN, at)).process(flat(30, without), "7", **POD)
    host.add("scaph_socket_power_microwatts", [(s, 0.0 if s == WRAP else 1e8) for s in SEEN], socket_id="0")
    host.add("scaph_host_power_microwatts", flat(1e8, without))
    energy = host.fold()
    node = only(energy.nodes)
    assert (node["metered_joules"], node["coverage_ratio"]) == (pytest.approx(100 * HOUR_SECONDS), 1.0)
    assert energies(energy, pod="web") == pytest.approx(30 * HOUR_SECONDS)
    assert (node["wraps"], node["bridged_joules"]) == (1, pytest.approx(30 * 30))


def test_the_first_scrape_has_no_power_and_what_came_before_it_is_not_counted() -> None:
    """3.3, third row. First scraped at 10:30 with a register of 200 kJ: a baseline, and no process yet."""
    late = [second for second in SEEN if second >= clock("10:30")]
    host = Host().socket(register(100, late, at=200_000.0, wraps=1e9)).process(flat(30, late[1:]), "7", **POD)
    energy = host.fold()
    node = only(energy.nodes)
    assert node["metered_joules"] == pytest.approx(100 * 1800)
    assert (node["coverage_ratio"], node["unplaced_joules"]) == (pytest.approx(0.5), None)
    assert energies(energy, pod="web") == pytest.approx(30 * 1800)


@pytest.mark.parametrize("frozen", [("10:20", "10:24"), ("10:20", "10:40")], ids=["4 min", "20 min"])
def test_frozen_values_are_neither_power_that_lasts_nor_a_leap_at_their_end(frozen: tuple[str, str]) -> None:
    """3.3, fourth row. A second scraper stops every refresh: the rise is spread, or unknown when too long."""
    begin, end = clock(frozen[0]), clock(frozen[1])
    shown = [min(s, begin) if s < end else s for s in SEEN]
    registers = [(s, 1_000.0 + 100 * (at - SEEN[0])) for s, at in zip(SEEN, shown, strict=True)]
    energy = Host().socket(registers).process(flat(30, SEEN), "7", **POD).fold()
    known = HOUR_SECONDS if end - begin <= 600 else HOUR_SECONDS - (end - begin)
    assert only(energy.nodes)["metered_joules"] == pytest.approx(100 * known)
    assert energies(energy, pod="web") == pytest.approx(30 * known)
    assert "scaphandre_frozen" in {check.name for check in energy.faults if not check.passed}


@pytest.mark.parametrize(("watts", "check"), [(150, "workloads_exceed_active"), (300, "implausible")])
def test_processes_far_above_their_host_are_withheld_and_the_host_is_believed(watts: float, check: str) -> None:
    """3.3, fifth row. 0.x: a pod says 150 or 300 W where the sockets drew 100."""
    energy = Host().socket(register(100, SEEN)).process(flat(watts, SEEN), "7", **POD).fold()
    node = only(energy.nodes)
    assert (node["metered_joules"], node["check"]) == (pytest.approx(100 * HOUR_SECONDS), check)
    assert node["quarantined_joules"] == pytest.approx(watts * HOUR_SECONDS)
    assert where(energy.rows, kind="workload") == []
    assert "scaphandre_processes_exceed_host" in {fault.name for fault in energy.faults if not fault.passed}


def test_a_guest_measured_from_its_host_has_all_of_its_energy_where_its_own_scaphandre_says_a_fifth() -> None:
    """3.3, seventh row. qemu draws 30 W; the figure handed into the guest counts 6 of them and is not read."""
    host = Host().socket(register(100, SEEN))
    host.process(flat(30, SEEN), "9", exe="qemu-system-x86_64", cmdline="-name guest=db-vm,", vmname="db-vm")
    row = only(host.fold().rows, workload="db-vm")
    assert (row["workload_kind"], row["energy_joules"]) == ("VirtualMachine", pytest.approx(30 * HOUR_SECONDS))


def test_processes_without_kubernetes_labels_are_the_hosts_and_no_joule_is_lost() -> None:
    """3.3, eighth row, and 8 (labels missing). kind, k3s, cri-o: nobody is named, the sum stands."""
    host = Host().socket(register(100, SEEN)).process(flat(30, SEEN), "7").process(flat(20, SEEN), "8")
    energy = host.fold()
    assert where(energy.rows, kind="workload") == []
    system = only(energy.rows, kind="system")
    assert (system["workload"], system["energy_joules"]) == ("host_processes", pytest.approx(50 * HOUR_SECONDS))
    assert energies(energy) == pytest.approx(100 * HOUR_SECONDS)


def test_a_guest_reported_as_0_w_uses_nothing_and_its_energy_stays_idle() -> None:
    """3.3, ninth row. Nothing tells what it drew: 0 is what was measured, and the rest is nobody's."""
    host = Host().socket(register(100, SEEN)).process(flat(0, SEEN), "9", vmname="db-vm").process(flat(10, SEEN), "1")
    energy = host.fold()
    assert energies(energy, workload="db-vm") == 0
    assert energies(energy, kind="idle") == pytest.approx(90 * HOUR_SECONDS)


@pytest.mark.parametrize(("ceiling_watts", "known"), [(2_000, False), (4_990, False), (5_010, True), (8_000, True)])
def test_a_leap_beyond_the_ceiling_of_a_socket_is_unknown(ceiling_watts: float, known: bool) -> None:  # noqa: FBT001 # a case
    """R9 for registers. 5 kW for one scrape: `energy.ceiling_watts.socket` decides whether that is energy or a gap."""
    points = [(s, 101_000.0 + 100 * (s - SEEN[0]) + (4_900 * 30 if s >= WRAP else 0)) for s in SEEN]
    host = Host().socket(points).process(flat(30, SEEN), "7", **POD)
    node = only(host.booked("scaphandre", ceilings=Ceilings(ceiling_watts, 1_500)).nodes)
    joules, seconds = (4_900 * 30, HOUR_SECONDS) if known else (0, HOUR_SECONDS - 30)
    assert node["metered_joules"] == pytest.approx(joules + 100 * seconds)
    assert node["coverage_ratio"] == pytest.approx(seconds / HOUR_SECONDS)


def test_a_command_line_of_five_thousand_characters_is_read_whole() -> None:
    """8 (#416: cmdline too long). Two programs that differ in their last character stay two."""
    host = Host().socket(register(100, SEEN))
    for pid, last in (("7", "a"), ("8", "b")):
        host.process(flat(10, SEEN), pid, cmdline="java" + "x" * 5_000 + last)
    programs = host.fold().processes.to_pylist()
    assert {row["cmdline"][-1] for row in programs} == {"a", "b"}
    assert sum(row["energy_joules"] for row in programs) == pytest.approx(20 * HOUR_SECONDS)


def test_energy_of_a_process_is_the_integral_of_its_power_by_the_backward_step() -> None:
    """8 (#266: energy per process). 10 W until 10:30, 50 W after: the sample speaks of the time before it."""
    watts = [(second, 50.0 if second > clock("10:30") else 10.0) for second in SEEN]
    (row,) = Host().socket(register(100, SEEN)).process(watts, "7").fold().processes.to_pylist()
    assert row["energy_joules"] == pytest.approx(10 * 1800 + 50 * 1800)


def test_cores_are_inside_their_socket() -> None:
    """3.1. Domains core 60 W and uncore 5 W of a socket of 100 W, dram 12 W beside it."""
    host = Host().socket(register(100, SEEN)).process(flat(30, SEEN), "7", **POD)
    for number, (name, watts) in enumerate((("core", 60), ("uncore", 5), ("dram", 12))):
        points = [(s, joules * 1e6) for s, joules in line(watts, SEEN, 1_000.0)]
        host.add(scaphandre.DOMAINS, points, socket_id="0", domain_id=str(number), domain_name=name)
    assert energies(host.fold()) == pytest.approx(112 * HOUR_SECONDS)
