"""The database that is kept between questions: whatever was asked before, an answer is of the files as they are."""

import os
import signal
import threading
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from pipeline.sinks import scans
from pipeline.sinks.instances import create
from pipeline.sinks.listings import listings
from pipeline.sinks.signals import MACROS
from pipeline.sinks.teams import TABLE_MACROS
from pipeline.sinks.views import TEXTS, definitions, open_views
from pipeline.sinks.warehouse import Warehouse
from tests.sinks import rows
from tests.sinks.rows import HOURS

JOULES = "select sum(energy_joules) from emissions"


def ask(root: Path, text: str = JOULES) -> float:
    with open_views(root, text) as connection:
        ((found,),) = connection.execute(text).fetchall()
        return float(found)


def commit(root: Path, web_joules: float) -> None:
    rows.commit(Warehouse(root), rows.complete(HOURS[:1]), rows.day(HOURS[:1], web_joules=web_joules))


@pytest.mark.parametrize("name", [name for name in TEXTS if name not in MACROS | TABLE_MACROS])
def test_a_view_alone_stands_on_what_was_made_for_it(tmp_path: Path, name: str) -> None:
    with open_views(tmp_path, name, {"threads": "1"}) as connection:
        assert connection.execute(f"from {name}").fetchall() == []


def test_a_table_macro_alone_stands_on_what_was_made_for_it(tmp_path: Path) -> None:
    text = "from gco2e_by(['namespace'], '2026-11-01', '2026-11-02')"
    with open_views(tmp_path, text, {"threads": "1"}) as connection:
        assert connection.execute(text).fetchall() == []


def test_first_files_and_replaced_files_are_seen_by_the_next_question(tmp_path: Path) -> None:
    with open_views(tmp_path, JOULES) as connection:
        assert connection.execute(JOULES).fetchall() == [(None,)]
    found = []
    for joules in (1e6, 2e6, 3e6):
        commit(tmp_path, joules)
        found.append(ask(tmp_path))
    assert found == [joules + 3.6e6 for joules in (1e6, 2e6, 3e6)]


def test_a_file_of_the_same_inode_size_and_time_is_read_anew(tmp_path: Path) -> None:
    commit(tmp_path, 1e6)
    (path,) = tmp_path.glob("emissions/*/*/emissions.parquet")
    before = path.read_bytes()
    commit(tmp_path, 2e6)
    after = path.read_bytes()
    assert len(after) == len(before)
    found = []
    for content in (before, after):
        path.write_bytes(content)
        os.utime(path, (1e9, 1e9))
        with open_views(tmp_path, f"{JOULES}; stored.commits") as connection:
            found += connection.execute(JOULES).fetchall()
            found += connection.execute("select revision from stored.commits").fetchall()
    assert found == [(4.6e6,), (0,), (5.6e6,), (1,)]


def test_a_connection_stays_good_while_another_warehouse_is_asked(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    commit(one, 1e6)
    commit(other, 2e6)
    with open_views(one, JOULES) as connection:
        assert ask(other) == 5.6e6
        assert connection.execute(JOULES).fetchall() == [(4.6e6,)]
    assert ask(one) == 4.6e6


class Watched:
    """A connection that asks another one something after each of its statements."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, question: str) -> None:
        self._connection, self._other, self._question = connection, connection.cursor(), question
        self.seen = list[object]()

    def execute(self, statement: str) -> None:
        self._connection.execute(statement)
        self.seen.append(self._other.execute(self._question).fetchall())


def test_others_see_the_views_of_a_question_change_all_at_once(tmp_path: Path) -> None:
    commit(tmp_path, 1e6)
    (path,) = tmp_path.glob("node_energy/*/*/*.parquet")
    whole, made = path.read_bytes(), dict[str, str]()
    with duckdb.connect() as connection:
        create(connection, listed_texts(tmp_path), made)
        watched = Watched(connection, "select count(*) from node_energy")
        for content in (b"", whole, b"", whole):  # now in doubt, now certain
            if content:
                path.write_bytes(content)
            else:
                pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
            create(watched, listed_texts(tmp_path), made)  # type: ignore[arg-type] # it is asked for nothing else
        assert len(watched.seen) > 12
        assert set(map(str, watched.seen)) == {str([(rows_of_nodes(path),)])}


def rows_of_nodes(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


def listed_texts(root: Path) -> dict[str, str]:
    return definitions(root, listings(root, set(scans.LISTED.values())))


def test_threads_that_ask_two_warehouses_get_the_answers_of_each(tmp_path: Path) -> None:
    wanted = {tmp_path / "one": 1e6, tmp_path / "other": 2e6}
    for root, joules in wanted.items():
        commit(root, joules)
    found: list[bool] = []

    def several(root: Path) -> None:
        for text in (JOULES, "select sum(energy_joules) from emissions_daily") * 3:
            found.append(ask(root, text) == wanted[root] + 3.6e6)  # noqa: PERF401 # those before one that fails count

    threads = [threading.Thread(target=several, args=(root,)) for root in wanted for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 24


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # later Pythons say that it has Arrow's threads
def test_after_a_fork_parent_and_child_can_ask(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    commit(one, 1e6)
    commit(other, 2e6)
    ask(one)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if (ask(one), ask(other)) == (4.6e6, 5.6e6) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ask(one) == 4.6e6


def test_nothing_of_files_is_kept_and_no_setting_of_a_question_apart(tmp_path: Path) -> None:
    commit(tmp_path, 1e6)
    with open_views(tmp_path, JOULES, {"memory_limit": "1GB"}) as connection:
        connection.execute("create temp table put_aside as from emissions")
    ask(tmp_path)
    with open_views(tmp_path, JOULES) as connection:
        assert connection.execute("select sum(memory_usage_bytes) from duckdb_memory()").fetchall() == [(0,)]
        assert connection.execute("select current_setting('memory_limit')").fetchall() != [("953.6 MiB",)]
        with pytest.raises(duckdb.Error, match="put_aside"):
            connection.execute("from put_aside")
