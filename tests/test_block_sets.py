"""Hours too old for remote write go into blocks, and count as published once a real Prometheus shows them."""

import shlex
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.doctor import examine
from pipeline.errors import ConfigError
from pipeline.job import Job
from pipeline.publish_stored import publish_stored
from pipeline.report import RunReport
from pipeline.report.stores import StoreOutcome
from pipeline.reprice import reprice
from pipeline.settings import Settings, StoreSettings
from pipeline.sinks.sql import run_query
from pipeline.sinks.warehouse import Warehouse
from pipeline.window import HOUR
from tests.clocks import FixedClock
from tests.prices import stored
from tests.prices.stored import CLUSTER, START, fold, learn, vintage
from tests.sinks.servers import RealStore, real_prometheus

pytestmark = pytest.mark.real
HOURS = [START + n * HOUR for n in range(6)]
NOW = HOURS[-1] + 3 * HOUR  # the last hour is too young for a block: promtool wants three hours
IN_BLOCKS = HOURS[:5]


def told(folder: Path, server: RealStore, **store: object) -> Settings:
    entry = {"url": f"{server.url}/api/v1/write", "name": "store", "publish": "blocks"} | store
    stores = (StoreSettings.model_validate(entry),)
    return stored.settings(folder / "warehouse").model_copy(update={"remote_write": stores})


def priced(folder: Path, given: Settings) -> None:
    learn(Warehouse(folder / "warehouse"), *(vintage(hour, 100.0, HOURS[-1]) for hour in HOURS))
    fold(given, HOURS, NOW)


def publish(given: Settings, now: datetime = NOW, discarded: tuple[str, ...] = ()) -> tuple[StoreOutcome, RunReport]:
    report = publish_stored(Job(given, {"PATH": _path()}, FixedClock(now)), [CLUSTER], None, discarded)
    (outcome,) = report.clusters[0].stores
    return outcome, report


def _path() -> str:
    program = shutil.which("promtool")
    assert program is not None
    return str(Path(program).parent)


def sets(folder: Path) -> list[Path]:
    return sorted((folder / "warehouse" / "blocks" / "store").glob("*"))


def assert_shown(folder: Path, server: RealStore, hours: list[datetime]) -> None:
    query = "sum(sum without (revision) (sum_over_time(carbon_emissions_grams[5h])))"
    text = f"select sum(emissions_gco2e) as grams from emissions where hour_utc <= '{hours[-1]:%F %T}+00'"
    (row,) = run_query(folder / "warehouse", text).to_pylist()
    assert server.query(query, (hours[-1] + HOUR).timestamp())[""] == pytest.approx(row["grams"], rel=1e-9)


def states(folder: Path) -> dict[datetime, tuple[str, str | None]]:
    text = (
        "select hour_utc, arg_max(state, written_utc) as state, arg_max(reason, written_utc) as reason from hours "
        "where store is not null group by hour_utc order by hour_utc"
    )
    return {row["hour_utc"]: (row["state"], row["reason"]) for row in run_query(folder / "warehouse", text).to_pylist()}


def restart(server: RealStore) -> None:
    """It looks for new blocks once a minute, and when it starts."""
    server.kill()
    server.start()


def test_older_hours_wait_in_a_set_with_the_command_until_they_are_read_back(tmp_path: Path) -> None:
    with real_prometheus(tmp_path / "p", window=None) as server:
        given = told(tmp_path, server)
        priced(tmp_path, given)
        outcome, report = publish(given)
        assert (outcome.samples_written, outcome.hours_unpublished, report.exit_code) == (0, 6, 0)
        (made,) = sets(tmp_path)
        reason = states(tmp_path)[HOURS[0]][1]
        assert reason is not None
        _, _, command = reason.partition("waits: ")
        command, _, then = command.partition(", then ")
        assert "bring those blocks to the store" in then
        assert any(command in told for told in outcome.reasons)
        outcome, _ = publish(given, NOW + HOUR / 4)
        assert sets(tmp_path) == [made], "no second set while one waits"

        subprocess.run(shlex.split(command), check=True, env={"PATH": _path()}, capture_output=True)
        for block in (made / "blocks").iterdir():
            shutil.move(block, tmp_path / "p" / "data" / block.name)
        restart(server)
        outcome, _ = publish(given, NOW + HOUR / 2)
        assert (outcome.hours_published, outcome.samples_written, sets(tmp_path)) == (5, 0, [])
        assert [states(tmp_path)[hour][0] for hour in HOURS] == ["yes"] * 5 + ["beyond_horizon"]
        assert_shown(tmp_path, server, IN_BLOCKS)


def test_where_the_data_folder_is_local_the_blocks_are_made_there_at_once(tmp_path: Path) -> None:
    with real_prometheus(tmp_path / "p", window=None) as server:
        given = told(tmp_path, server, data_folder=str(tmp_path / "p" / "data"))
        priced(tmp_path, given)
        _, report = publish(given)
        assert report.exit_code == 0
        assert "is loaded and not readable yet" in str(states(tmp_path)[HOURS[0]][1])
        restart(server)
        outcome, _ = publish(given, NOW + HOUR / 4)
        assert (outcome.hours_published, sets(tmp_path)) == (5, [])
        assert_shown(tmp_path, server, IN_BLOCKS)
        # A dearer hour afterwards is a second set, of the difference alone.
        learn(Warehouse(tmp_path / "warehouse"), vintage(HOURS[1], 250.0, NOW + HOUR / 4), run_id="dearer")
        later = Job(given, {"PATH": _path()}, FixedClock(NOW + HOUR / 2))
        assert reprice(later, [CLUSTER], None).exit_code == 0
        (made,) = sets(tmp_path)
        lines = (made / "samples.om").read_text().splitlines()
        assert lines[-1] == "# EOF"
        assert all('revision="1"' in line for line in lines[:-1])
        restart(server)
        publish(given, NOW + HOUR)
        assert_shown(tmp_path, server, IN_BLOCKS)


def test_a_set_that_cannot_be_loaded_waits_is_told_and_may_be_discarded(tmp_path: Path) -> None:
    with real_prometheus(tmp_path / "p", window=None) as server:
        given = told(tmp_path, server, data_folder=str(tmp_path / "elsewhere"))
        priced(tmp_path, given)
        _, report = publish(given)
        assert "elsewhere is not here" in report.error_lines()[0]
        (made,) = sets(tmp_path)
        found = [one.text for one in examine(given, [], {}, FixedClock(NOW)) if made.name in one.text]
        assert len(found) == 1, "doctor names it"
        _, report = publish(given, NOW + HOUR / 4, (made.name,))
        (again,) = sets(tmp_path)
        assert again.name != made.name
        with pytest.raises(ConfigError, match="no store has a block set"):
            publish(given, NOW + HOUR / 4, ("../store",))


def test_hours_older_than_retention_are_not_put_into_a_block_that_would_vanish(tmp_path: Path) -> None:
    with real_prometheus(tmp_path / "p", window=None, retention="27h") as server:
        given = told(tmp_path, server)  # a day less keeps away from the edge: three hours are left
        priced(tmp_path, given)
        publish(given)
        assert sets(tmp_path) == []
        assert {state for state, _ in states(tmp_path).values()} == {"beyond_horizon"}
