"""SQL questions: answers, complaints in one line, and tables that fit a terminal."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from pipeline.errors import ConfigError
from pipeline.sinks.sql import question, readable, render, run_query, shipped_queries
from pipeline.sinks.warehouse import Warehouse
from tests.sinks import rows
from tests.sinks.rows import HOURS


def shown(answer: pa.Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(render(answer))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_question_is_answered_in_utc(tmp_path: Path) -> None:
    rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    answer = run_query(tmp_path, "select min(hour_utc) as hour_utc, sum(energy_joules) as joules from emissions;")
    assert answer.to_pylist() == [{"hour_utc": HOURS[0], "joules": 7.2e6}]
    assert answer.schema.field("hour_utc").type == pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("select emission from emissions", 'SQL: Binder Error: Referenced column "emission" not found'),
        ("selekt 1", "SQL: Parser Error"),
        ("select 1; select 2", "exactly one SQL statement, not 2"),
        ("", "exactly one SQL statement, not 0"),
        ("from read_csv('/etc/passwd')", "disabled by configuration"),
        ("create table t as select 1", "only questions"),
        ("copy emissions to 'x.parquet'", "only questions"),
        ("explain analyze copy (select 1) to 'x.parquet'", "only questions"),
        ("set TimeZone = 'Asia/Tokyo'", "only questions"),
    ],
)
def test_a_text_that_cannot_be_answered_is_a_usage_error_of_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        run_query(tmp_path, text)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["show tables", "describe emissions", "explain select 1", "from hours", "summarize hours"]
)
def test_questions_about_the_tables_are_answered(tmp_path: Path, text: str) -> None:
    assert run_query(tmp_path, text).num_columns > 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12345678.9123, "12,345,679"),
        (1234.5678, "1,234.57"),
        (0.123456789, "0.12346"),
        (0.0000123456, "1.23456e-05"),
        (-3.5, "-3.5"),
        (1e20, "1e+20"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (1000, "1,000"),
        (True, "yes"),
        (datetime(2026, 11, 1, 5, tzinfo=UTC), "2026-11-01 05:00Z"),
        ([1.5, None], "1.5, null"),
        ("[bold]x", "[bold]x"),
    ],
)
def test_values_are_written_for_people(value: object, text: str) -> None:
    assert readable(value) == text


def test_a_table_fits_its_width_and_loses_nothing() -> None:
    name = "a-very-long-workload-name-that-does-not-fit-in-a-narrow-terminal"
    answer = pa.table({"workload": [name, None], "[red]grams": [1234.5, None]})
    text = shown(answer, 40)
    assert max(len(line) for line in text.splitlines()) <= 40
    assert text.count("null") == 2
    assert "1,234.5" in text
    assert "[red]grams" in text
    first_column = "".join(line.split(" ")[0] for line in text.splitlines())
    assert name in first_column


def test_shipped_queries_begin_with_their_question() -> None:
    queries = shipped_queries()
    assert len(queries) >= 8
    for name, text in queries.items():
        assert text.startswith("-- "), name
        assert question(text).endswith("?"), name
