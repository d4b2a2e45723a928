"""Lines that drop, delay, reset, truncate, duplicate and slow, and servers killed in mid-run: the same in the end."""

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, free_port
from tests.conftest import WINDOW
from tests.faults.acts import NewPlace, Stories
from tests.faults.lines import Line, Trouble
from tests.faults.results import Point, some, tell
from tests.faults.scenes import Outcome, Place, small_fleet, well
from tests.faults.victims import Ended, Victims
from tests.sinks.servers import RealStore

PARTLY, LATER = 69, 75
SIDES = ("source", "store")
PIECES = (1, 4, 6)  # of a store's: the first question, a write, the look at what came of it

Record = Callable[[str, object], None]


def _assert_said(ended: Ended) -> None:
    """0, or a code that means "again later" with a line about it; never a traceback."""
    assert "Traceback" not in ended.said, ended.said
    assert ended.code in (0, PARTLY, LATER), ended.said
    if ended.code:
        assert ended.errors, ended.said
        assert all("unexpected" not in line for line in ended.errors), ended.errors


@pytest.mark.parametrize(("which", "trouble"), some(list(itertools.product(SIDES, get_args(Trouble)))))
def test_a_line_in_trouble_costs_time_and_no_figure(
    which: str,
    trouble: Trouble,
    undisturbed: Stories,
    place: NewPlace,
    forks: Victims,
    record_property: Record,
) -> None:
    act = undisturbed["corrected"][0]
    straight = place(f"line-{which}-{trouble}")
    with Line(getattr(straight, which), trouble).open() as line:
        own = _through(straight, which, line)
        ended = act.scene.play(own, forks, 0)
        _assert_said(ended)
        if ended.code == 0:
            assert Outcome.of(straight).differences(act.outcome) == []
        assert line.troubled > 0
        line.healed.set()
        well(act.scene.play(own, forks, 1))
    found = Outcome.of(straight).differences(act.outcome)
    fault = f"{trouble}, half of the connections"
    tell(record_property, Point(f"A line to the {which}", act.scene.name, fault, not found))
    assert found == []


def _through(straight: Place, which: str, line: Line) -> Place:
    """The same place, with a line to its source or to its store."""
    return replace(straight, source=line.url) if which == "source" else replace(straight, store=line.url)


@pytest.fixture
def mortal(prometheus_binary: PrometheusBinary, tmp_path: Path) -> Iterator[Callable[[str], RealStore]]:
    """Makes a Prometheus that can be killed: a `source` with the small fleet, or an empty `store`."""
    made: list[RealStore] = []

    def make(which: str) -> RealStore:
        folder, port = tmp_path / f"mortal-{len(made)}", free_port()
        folder.mkdir()
        if which == "source":
            fill_blocks(small_fleet(), prometheus_binary.promtool, folder / "data")
        (folder / "prometheus.yml").write_text(f"storage: {{tsdb: {{out_of_order_time_window: {WINDOW}}}}}\n")
        command = [
            str(prometheus_binary.prometheus), f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}", "--storage.tsdb.retention.time=10y",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver", "--log.level=warn",
        ]  # fmt: skip
        made.append(RealStore(command, port, "/-/ready", folder / "log"))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.mark.parametrize(("which", "piece"), some(list(itertools.product(SIDES, PIECES))))
def test_a_prometheus_killed_in_mid_run_and_started_again_costs_no_figure(
    which: str,
    piece: int,
    undisturbed: Stories,
    place: NewPlace,
    forks: Victims,
    mortal: Callable[[str], RealStore],
    record_property: Record,
) -> None:
    act, server = undisturbed["corrected"][0], mortal(which)
    started = threading.Event()

    def strike(number: int) -> None:
        if number == piece:
            server.kill()
            server.start()
            started.set()

    with Line(server.url, on_piece=strike).open() as line:
        own = _through(place(f"mortal-{which}-{piece}"), which, line)
        ended = act.scene.play(own, forks, 0)
        _assert_said(ended)
        assert started.wait(60)
        well(act.scene.play(own, forks, 1))
        found = Outcome.of(own).differences(act.outcome)
    fault = f"killed at piece {piece} of what it is sent, started again"
    tell(record_property, Point(f"The {which} killed", act.scene.name, fault, not found))
    assert found == []
