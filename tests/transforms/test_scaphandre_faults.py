"""Scaphandre's known faults are found, with numbers, and a healthy one is let be."""

from pipeline.checks import Check
from pipeline.sources.meters import scaphandre
from pipeline.transforms.scaphandre_faults import find_faults
from tests.transforms.made import clock, window_of
from tests.transforms.made_scaphandre import POD, MadeScaphandre, flat, register
from tests.transforms.test_scaphandre import AT, frozen


def findings(made: MadeScaphandre) -> dict[str, Check]:
    """By name; all of them, also those that hold."""
    found = list(find_faults(made.samples(), made.usage(), window_of(0, 1)))
    assert len({check.name for check in found}) == len(found) == 4
    assert not any(check.required for check in found)
    return {check.name: check for check in found}


def failed(made: MadeScaphandre) -> dict[str, str]:
    return {
        name.removeprefix("scaphandre_"): check.detail for name, check in findings(made).items() if not check.passed
    }


def busy(watts: float, percent: float) -> MadeScaphandre:
    """100 W of which processes are said to use `watts`, and `percent` of all cores."""
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT)).process(2, flat(watts, AT), **POD)
    return made.add(scaphandre.BUSY, flat(percent, AT), pid="2", exe="app", cmdline="x")


def test_a_healthy_scaphandre_has_no_fault() -> None:
    assert failed(busy(30, 30)) == {}
    assert all(check.detail == "" for check in findings(busy(30, 30)).values())


def test_frozen_values_are_counted() -> None:
    detail = failed(frozen("10:20", "10:40"))
    assert list(detail) == ["frozen"]
    assert detail["frozen"].startswith("39 of 120 scrapes repeat the one before (10.0.0.1)")


def test_process_power_a_hundred_times_too_low_is_flagged_and_not_rescaled() -> None:
    made = busy(0.3, 30)
    assert "1 node-hours (10.0.0.1) at 0.01 times" in failed(made)["processes_too_low"]
    assert made.fold().nodes["workload_joules"].to_pylist() == [0.3 * 3600]


def test_low_power_on_a_quiet_node_or_without_cpu_time_is_no_fault() -> None:
    assert failed(busy(0.3, 0.5)) == {}
    assert failed(MadeScaphandre().version(1.02, AT).socket(register(100, AT)).process(2, flat(0.3, AT), **POD)) == {}


def test_processes_above_the_registers_are_flagged_with_their_ratio() -> None:
    assert "1 node-hours (10.0.0.1) at 1.3 times" in failed(busy(130, 100))["processes_exceed_host"]
    assert failed(busy(100.9, 100)) == {}


def test_registers_without_process_power_are_counted() -> None:
    at = [s for s in AT if not clock("10:20") <= s < clock("10:25")]
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT)).process(2, flat(30, at), **POD)
    assert failed(made)["process_power"].startswith("10 of 120 scrapes have registers but no process power")
