"""`carbon-etl sql` as somebody would use it who may ask questions and wants more: each way out, and that it is shut."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipeline.errors import ConfigError
from pipeline.sinks import views
from pipeline.sinks.sql import run_query
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from tests.sinks import rows
from tests.sinks.rows import HOURS

ONLY_QUESTIONS = "only questions can be asked here"
OUTSIDE = "file system operations are disabled by configuration"
UNKNOWN = "Catalog Error"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse in a folder, a secret beside it, and links from within to the secret."""
    world = tmp_path_factory.mktemp("world")
    root = world / "warehouse"
    rows.commit(Warehouse(root), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    (world / "secret.csv").write_text("word\ns3cr3t\n")
    (root / "emissions" / "beside").symlink_to(world)
    (root / "emissions" / "beside.csv").symlink_to(world / "secret.csv")
    return world


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The world; no file of it changes, and none appears where the question is asked.

    A question that names no view has all of them, which takes longer than all else: here it has one, and what that is
    made of. What may be read does not hang on it.
    """
    meant, every = views._meant, frozenset(views.TEXTS)

    def few(query: str, **known: bool) -> frozenset[str]:
        found = meant(query, **known)
        return meant("hours", **known) if found == every else found

    monkeypatch.setattr(views, "_meant", few)
    monkeypatch.chdir(tmp_path)
    before = inventory(world)
    yield world
    assert inventory(world) == before
    assert list(tmp_path.iterdir()) == []


def inventory(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(root: Path, text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        run_query(root, text)
    assert "\n" not in str(refused.value)
    assert "s3cr3t" not in str(refused.value)
    return str(refused.value)


READERS = (
    "read_text", "read_blob", "read_csv", "read_csv_auto", "read_json", "read_json_objects", "read_ndjson",
    "read_parquet", "parquet_metadata", "parquet_schema", "parquet_kv_metadata", "sniff_csv", "glob", "read_duckdb",
)  # fmt: skip
PLACES = (
    "/etc/passwd", "/proc/self/environ", "/dev/stdin", "{root}/../secret.csv", "{root}/../*", "{root}/./../secret.csv",
    "{root}/emissions/../../secret.csv", "{root}/emissions/beside/secret.csv", "{root}/emissions/beside.csv",
    "{root}x/../secret.csv", "file://{root}/../secret.csv", "file:///etc/passwd", "//etc/passwd", "~/.bashrc",
    "http://127.0.0.1:9/x.csv", "https://127.0.0.1:9/x.parquet", "s3://bucket/x.parquet", "hf://x/y", "../secret.csv",
)  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_reads_outside_of_the_warehouse(reader: str, here: Path) -> None:
    assert OUTSIDE in refusal(here / "warehouse", f"from {reader}('{here}/secret.csv')")


@pytest.mark.parametrize("place", PLACES)
def test_no_way_of_writing_a_place_leads_outside(place: str, here: Path) -> None:
    root = here / "warehouse"
    assert OUTSIDE in refusal(root, f"from read_text('{place.format(root=root)}')")


@pytest.mark.parametrize("place", ["{root}/../secret.csv", "/etc/passwd", "https://127.0.0.1:9/x.csv"])
def test_no_address_stands_for_a_table(place: str, here: Path) -> None:
    root = here / "warehouse"
    said = refusal(root, f"from '{place.format(root=root)}'")
    assert OUTSIDE in said or UNKNOWN in said


@pytest.mark.parametrize(
    "wrapped",
    [
        "from query('from read_text(''{secret}'')')",
        "from query('from read_' || 'text(''{secret}'')')",
        "from query_table('{secret}')",
        "from json_execute_serialized_sql(json_serialize_sql('from read_text(''{secret}'')'))",
        "from read_text(['{root}/hours/*', '{secret}'])",
        "from read_csv('{root}/emissions/beside.csv', store_rejects = true)",
        "select (select content from read_text('{secret}')) as content from hours",
        "from hours where exists (from read_text('{secret}'))",
        "with word as (from read_text('{secret}')) from word",
        "explain from read_text('{secret}')",
        "describe from read_csv('{secret}')",
        "summarize from read_csv('{secret}')",
        "from read_parquet('{root}/emissions/*/*/*.parquet', file_row_number = true, schema = (from '{secret}'))",
        "import database '{outside}'",
    ],
)
def test_no_wrapping_of_a_reader_helps(wrapped: str, here: Path) -> None:
    text = wrapped.format(root=here / "warehouse", secret=here / "secret.csv", outside=here)
    refusal(here / "warehouse", text)


WRITES = (
    "copy (select 1) to '{target}'",
    "copy hours to '{target}' (format csv)",
    "explain analyze copy (select 1) to '{target}'",
    "explain analyse copy (select 1) to '{target}'",
    "explain /**/ analyze copy (select 1) to '{target}'",
    "explain -- a plan\n analyze copy (select 1) to '{target}'",
    "-- a plan\nexplain analyze copy (select 1) to '{target}'",
    "/* a plan */ explain analyze copy (select 1) to '{target}'",
    "/* a /* plan */ explain analyze copy (select 1) to '{target}' -- */ explain select 1",
    "\n\t explain\n\nanalyze\ncopy (select 1) to '{target}'",
    "explain (analyze) copy (select 1) to '{target}'",
    "explain (analyze, format json) copy (select 1) to '{target}'",
    "explain (format json) copy (select 1) to '{target}'",
    "explain copy (select 1) to '{target}'",
    "explain create table t as select 1",
    "with written as (copy (select 1) to '{target}') from written",
    "select 1; copy (select 1) to '{target}'",
    "copy (select 1) to '{target}'; select 1",
    "from query('copy (select 1) to ''{target}''')",
    "attach '{target}' as other",
    "export database '{target}'",
    "prepare p as copy (select 1) to '{target}'",
    "create table t as select 1",
    "create or replace view hours as select 1",
    "create secret (type s3, key_id 'x')",
    "insert into stored.hours select 1",
    "pragma enable_profiling = 'json'",
    "call enable_logging(storage = 'file', storage_path = '{target}')",
)


@pytest.mark.parametrize("text", WRITES)
def test_nothing_is_written_not_even_where_files_may_be_read(text: str, here: Path) -> None:
    refusal(here / "warehouse", text.format(target=here / "warehouse" / "x.parquet"))


@pytest.mark.parametrize(
    "text",
    [
        "select write_log('x', level := 'error') from enable_logging(storage = 'file', storage_path = '{target}')",
        "from enable_logging(level = 'trace', storage = 'file', storage_config = {{'path': '{target}'}}), range(9999)",
        "select count(*) from range(10), enable_profiling(format = 'json', save_location = '{target}.json')",
        "from query('from enable_' || 'logging(storage = ''file'', storage_path = ''{target}'')')",
    ],
)
def test_questions_with_effects_have_none_on_files(text: str, here: Path) -> None:
    for folder in (here, here / "warehouse"):
        run_query(here / "warehouse", text.format(target=folder / "log"))


@pytest.mark.parametrize(
    "text",
    [
        "set enable_external_access = true",
        "set lock_configuration = false",
        "reset enable_external_access",
        "set allowed_directories = ['/']",
        "set memory_limit = '100TB'",
        "pragma lock_configuration = false",
        "install httpfs",
        "force install httpfs",
        "load httpfs",
        "load '/tmp/x.duckdb_extension'",
        "call enable_profiling()",
        "attach ':memory:' as other",
        "use other",
        "detach memory",
        "checkpoint",
        "vacuum",
        "execute p",
        "begin",
    ],
)
def test_no_setting_changes_and_nothing_is_loaded(text: str, here: Path) -> None:
    assert ONLY_QUESTIONS in refusal(here / "warehouse", text)


@pytest.mark.parametrize(
    "text",
    [
        "from read_xlsx('{root}/x.xlsx')",
        "from sqlite_scan('{root}/x', 'y')",
        "from postgres_scan('host=127.0.0.1', 'public', 'x')",
        "from sql_auto_complete('sel')",
        "from st_read('{root}/x')",
    ],
)
def test_no_extension_loads_itself(text: str, here: Path) -> None:
    refusal(here / "warehouse", text.format(root=here / "warehouse"))


@pytest.mark.parametrize(
    "text",
    [
        "select getenv('HOME')",
        "from duckdb_secrets()",
        "from which_secret('s3://x', 's3')",
        "from duckdb_extensions()",
        "from arrow_scan(1::pointer, 2::pointer, 3::pointer)",
        "from pandas_scan(1::pointer)",
    ],
)
def test_nothing_is_told_of_the_process_and_its_memory(text: str, here: Path) -> None:
    refusal(here / "warehouse", text)


def test_variables_of_the_program_are_no_tables(here: Path) -> None:
    answer = pa.table({"word": ["s3cr3t"]})  # DuckDB looks for such among the variables of whoever calls it
    for name in ("answer", "root", "text", "connection", "asked", "READERS"):
        assert UNKNOWN in refusal(here / "warehouse", f"from {name}")
    assert answer.num_rows == 1


def test_a_connection_that_got_any_statement_through_would_still_read_no_other_file_nor_unlock(here: Path) -> None:
    with open_views(here / "warehouse") as connection:
        for text in (
            f"copy (select 1) to '{here}/x.csv'",
            f"attach '{here}/x.db' as other",
            "set enable_external_access = true",
            "set lock_configuration = false",
            "set allowed_directories = ['/']",
            "install httpfs",
            "load httpfs",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(text)


def test_an_answer_that_would_fill_the_memory_is_refused(here: Path) -> None:
    with pytest.raises(ConfigError, match="the answer is larger than 8 MB: sum it up, or add a limit"):
        run_query(here / "warehouse", "from range(100_000_000_000)", most_bytes=8 << 20)


def test_an_answer_within_the_limit_is_whole(here: Path) -> None:
    assert run_query(here / "warehouse", "from range(1_000_000)").num_rows == 1_000_000


def settings_of(root: Path) -> dict[str, str]:
    answer = run_query(root, "select name, value from duckdb_settings()")
    return dict(zip(answer["name"].to_pylist(), answer["value"].to_pylist(), strict=True))


def test_the_settings_are_those_of_a_sandbox(here: Path) -> None:
    found = settings_of(here / "warehouse")
    assert (found["enable_external_access"], found["lock_configuration"]) == ("false", "true")
    assert (found["allow_unsigned_extensions"], found["allow_community_extensions"]) == ("false", "true")
    assert int(found["threads"]) <= len(os.sched_getaffinity(0))


def test_only_the_folders_of_tables_can_be_read(here: Path) -> None:
    root = here / "warehouse"
    allowed = settings_of(root)["allowed_directories"].strip("[]").split(", ")
    assert all(Path(folder).parent == root for folder in allowed), allowed


def test_a_question_takes_half_of_the_machine_at_most(here: Path) -> None:
    limit, unit = settings_of(here / "warehouse")["memory_limit"].split()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert float(limit) * {"MiB": 1 << 20, "GiB": 1 << 30}[unit] <= pages / 2


def test_a_question_that_never_ends_ends_with_ctrl_c(here: Path) -> None:
    text = "with recursive t as (select 1 as x union all select x from t) select count(*) from t"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    ctrl_c = threading.Timer(1.0, signal.raise_signal, [signal.SIGINT])
    ctrl_c.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_query(here / "warehouse", text)
    finally:
        ctrl_c.join()
        signal.signal(signal.SIGINT, before)
