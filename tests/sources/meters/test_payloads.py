"""Bodies that real exporters exposed, read by the meters that must understand them.

Recorded by `python -m tests.exporters.payloads` from Scaphandre 1.0.0 on made registers, 3 s apart: two sockets with
memory, of which the first passes its range before `wrap`. Machine, paths and command lines are replaced.
"""

from pathlib import Path

import pytest

from pipeline.samples import ScaphandreSamples
from pipeline.sources.meters import scaphandre
from tests.exporters.exposition import Scraped, parse

FOLDER = Path(__file__).parents[2] / "payloads" / "scaphandre"
NAMES = ("first", "second", "before_wrap", "wrap", "after_wrap")
BODIES = {3_000 * i: (FOLDER / f"1.0.0_{name}.txt").read_text(encoding="utf-8") for i, name in enumerate(NAMES)}
WRAP_MS = 3_000 * NAMES.index("wrap")
TARGET = {"instance": "worker-1:8080", "job": "scaphandre"}


@pytest.fixture(scope="module")
def samples() -> ScaphandreSamples:
    return scaphandre.read(Scraped(BODIES, TARGET), [], 0, 3_000 * len(NAMES))


def test_the_bodies_hold_the_empty_lines_that_scaphandre_writes_after_registers() -> None:
    lines = BODIES[0].split("\n")
    registers = [i for i, line in enumerate(lines) if line.startswith(scaphandre.SOCKETS + "{")]
    assert [lines[i + 1] for i in registers] == ["", ""]
    assert len(parse(BODIES[0])) > 10


def test_every_register_is_one_counter_in_joules(samples: ScaphandreSamples) -> None:
    identity = samples.registers.identity.to_pylist()
    assert {tuple(row.values()) for row in identity} == {
        ("worker-1", "package", "0"), ("worker-1", "package", "1"),
        ("worker-1", "dram", "0/0"), ("worker-1", "dram", "1/0"),
    }  # fmt: skip
    assert len(samples.registers.value) == 4 * len(NAMES)
    ranges = {"package": 262_143.328850, "dram": 65_712.999613}
    for code, row in enumerate(identity):
        own = samples.registers.value[samples.registers.code == code]
        assert own.max() < ranges[row["component"]]
        assert own.max() > 10_000  # joules, not microjoules, and no power among them


def test_a_wrap_shows_in_the_register_that_wrapped_and_in_no_other(samples: ScaphandreSamples) -> None:
    registers, drops = samples.registers, []
    for code, row in enumerate(registers.identity.to_pylist()):
        own = registers.code == code
        by_stamp = dict(zip(registers.stamp_ms[own].tolist(), registers.value[own].tolist(), strict=True))
        drops += [(row["register"], ms) for ms in sorted(by_stamp)[1:] if by_stamp[ms] < by_stamp[ms - 3_000]]
    assert drops == [("0", WRAP_MS)]


def test_process_power_is_absent_at_the_first_scrape_and_at_a_wrap(samples: ScaphandreSamples) -> None:
    assert set(samples.processes.stamp_ms.tolist()) == set(BODIES) - {0, WRAP_MS}
    assert set(samples.busy.stamp_ms.tolist()) == set(BODIES)


def test_processes_are_known_by_command_and_a_guest_by_its_name(samples: ScaphandreSamples) -> None:
    processes = samples.processes.identity.to_pylist()
    assert {(row["pid"], row["guest"], row["exe"]) for row in processes} == {
        ("2211", "web01", "/usr/bin/python3.11"), ("2212", None, "/usr/bin/python3.11"),
    }  # fmt: skip
    assert all(row["container_id"] is None for row in processes)
    assert 1 < samples.processes.value.max() < 250  # watts of a machine of about 200 W


def test_the_version_is_the_one_that_was_recorded(samples: ScaphandreSamples) -> None:
    assert set(samples.versions.value.tolist()) == {1.00}


def test_nothing_of_the_machine_that_recorded_them_is_left() -> None:
    exposed = [sample for body in BODIES.values() for sample in parse(body)]
    assert {sample.labels["exe"] for sample in exposed if "exe" in sample.labels} == {"/usr/bin/python3.11"}
    assert not [body for body in BODIES.values() if "/root" in body or "/home" in body or "/tmp" in body]  # noqa: S108 # looked for, not used
