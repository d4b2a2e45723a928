"""The real Scaphandre asked by one or two scrapers at different paces, and the text it answers with."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.demo.servers import free_port
from tests.exporters.driving import Exporter
from tests.exporters.exposition import Exposed, parse
from tests.exporters.powercap import MICRO, Powercap, register
from tests.exporters.scaphandre import DOMAIN, HOST_ENERGY, HOST_POWER, PROCESS_POWER, SOCKET, exporter

pytestmark = pytest.mark.real


@pytest.fixture
def alone(scaphandre: Path, tmp_path: Path) -> Iterator[tuple[Powercap, Exporter]]:
    """One socket with memory, nobody scraping."""
    registers = [register(0), register(0, dram=True)]
    with Powercap(tmp_path / "powercap", registers) as powercap:
        program = exporter(scaphandre, powercap, free_port(), tmp_path / "log")
        with program.running():
            yield powercap, program


def ask_every(program: Exporter, seconds: float, count: int) -> list[tuple[int, list[Exposed]]]:
    """Scrapes at an even pace, with their stamps."""
    asked = []
    begin = time.monotonic()
    for index in range(count):
        time.sleep(max(0.0, begin + index * seconds - time.monotonic()))  # the pace is what is tested
        asked.append((round(time.time() * 1_000), parse(program.body())))
    return asked


def host_power(samples: list[Exposed]) -> list[float]:
    return [sample.value / MICRO for sample in samples if sample.metric == HOST_POWER]


def energies(samples: list[Exposed]) -> list[float]:
    return [sample.value for sample in samples if sample.metric in (SOCKET, DOMAIN, HOST_ENERGY)]


def test_asked_more_often_than_every_2_s_it_never_refreshes(alone: tuple[Powercap, Exporter]) -> None:
    _, program = alone
    asked = ask_every(program, 1.0, 6)
    assert all(sorted(energies(samples)) == sorted(energies(asked[0][1])) for _, samples in asked)
    time.sleep(2.5)
    assert sorted(energies(parse(program.body()))) != sorted(energies(asked[0][1]))


def test_two_scrapers_of_3_s_freeze_each_other(alone: tuple[Powercap, Exporter]) -> None:
    _, program = alone
    asked = ask_every(program, 1.5, 6)  # the one at 0, 3, 6 s; the other between
    assert all(sorted(energies(samples)) == sorted(energies(asked[0][1])) for _, samples in asked)


def test_a_second_scraper_cuts_the_windows_of_the_first(alone: tuple[Powercap, Exporter]) -> None:
    powercap, program = alone
    asked = ask_every(program, 2.5, 5)  # ours at 0, 5, 10 s; another's at 2.5, 7.5 s
    for (_, _), (middle_ms, _), (end_ms, samples) in zip(asked[0::2], asked[1::2], asked[2::2], strict=False):
        [watts] = host_power(samples)
        assert watts == pytest.approx(powercap.watts_between(middle_ms, end_ms), abs=2)


def test_register_lines_are_followed_by_empty_ones(alone: tuple[Powercap, Exporter]) -> None:
    lines = alone[1].body().split("\n")
    after = [following for line, following in pairwise(lines) if line.startswith((SOCKET, DOMAIN))]
    assert after == ["", ""]


def test_help_of_process_power_speaks_of_something_else(alone: tuple[Powercap, Exporter]) -> None:
    ask_every(alone[1], 2.5, 1)
    time.sleep(2.5)
    body = alone[1].body()
    [text] = [line for line in body.splitlines() if line.startswith(f"# HELP {PROCESS_POWER}")]
    assert "power" not in text.lower().removeprefix(f"# help {PROCESS_POWER}")


def test_with_psys_the_host_counter_is_psys_and_says_so(scaphandre: Path, tmp_path: Path) -> None:
    registers = [register(0), register(0, dram=True)]
    registers.append(replace(register(1), name="psys", watts=150.0))
    with Powercap(tmp_path / "powercap", registers) as powercap:
        program = exporter(scaphandre, powercap, free_port(), tmp_path / "log")
        with program.running():
            body = program.body()
    [host] = [sample for sample in parse(body) if sample.metric == HOST_ENERGY]
    assert host.labels == {"value_source": "powercap_rapl_psys"}
    assert [sample.labels for sample in parse(body) if sample.metric == SOCKET] == [{"socket_id": "0"}]
    lines = body.split("\n")
    assert [after for line, after in pairwise(lines) if line.startswith(HOST_ENERGY + "{")] == [""]
    assert host.value == pytest.approx(powercap.registers[2].start_uj, abs=200 * MICRO * 10)
