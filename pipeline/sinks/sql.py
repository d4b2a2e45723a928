"""Questions in SQL over the warehouse's views, and answers that a person can read."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
from rich.table import Table
from rich.text import Text

from pipeline.errors import ConfigError
from pipeline.sinks.views import open_views

# Beside the package, in the source tree and in the wheel alike.
QUERIES = Path(__file__).parents[2] / "queries"
READS = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
RUNS_WHAT_IT_EXPLAINS = re.compile(r"\s*explain\s*(\(|analyze\b)", re.IGNORECASE)


def run_query(root: Path, text: str) -> pa.Table:
    """The answer to one SQL statement over the views of the warehouse at `root`; times in UTC.

    Raises:
        ConfigError: DuckDB's complaint in one line, or a statement that is not a question.
    """
    with open_views(root) as connection:
        try:
            statements = connection.extract_statements(text)
            if len(statements) != 1:
                raise ConfigError(f"give exactly one SQL statement, not {len(statements)}")
            statement = statements[0]
            # The folder may be read and written by DuckDB: only questions get through.
            if statement.type not in READS or RUNS_WHAT_IT_EXPLAINS.match(statement.query):
                raise ConfigError(
                    "only questions can be asked here (select, describe, explain): the tables are the pipeline's"
                )
            return connection.sql(statement.query).to_arrow_table()
        except duckdb.Error as error:
            raise ConfigError(f"SQL: {_one_line(str(error))}") from error


def shipped_queries() -> dict[str, str]:
    """The text of every file in `queries/` by name, without `.sql`."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(QUERIES.glob("*.sql"))}


def question(text: str) -> str:
    """What a shipped query asks: its first comment line."""
    return text.partition("\n")[0].removeprefix("--").strip()


def render(answer: pa.Table) -> Table:
    """A table for the terminal: numbers to the right and rounded to six digits, nulls shown, long cells folded."""
    table = Table(header_style="bold", show_edge=False, pad_edge=False)
    for field in answer.schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type)
        table.add_column(Text(field.name), justify="right" if number else "left", overflow="fold")
    columns = [column.to_pylist() for column in answer.columns]
    for row in zip(*columns, strict=True):
        table.add_row(*[Text("null", style="dim") if value is None else Text(readable(value)) for value in row])
    return table


def readable(value: object) -> str:
    """A value as a person writes it: 12,345.7 and 2026-11-01 05:00Z."""
    formats: tuple[tuple[type, Callable[[object], str]], ...] = (
        (bool, lambda known: "yes" if known else "no"),
        (int, lambda known: f"{known:,}"),
        (float, _number),
        (datetime, _moment),
        (date, str),
        (list, lambda known: ", ".join("null" if item is None else readable(item) for item in known)),  # type: ignore[attr-defined] # a list
    )
    return next((shown(value) for kind, shown in formats if isinstance(value, kind)), str(value))


def _number(value: object) -> str:
    number = float(str(value))
    if number and not 1e-4 <= abs(number) < 1e15:
        return f"{number:.6g}"
    digits = max(0, 5 - len(str(int(abs(number)))) + 1)
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _moment(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(value)
    moment = value.astimezone(UTC) if value.tzinfo else value
    seconds = ":%S" if moment.second or moment.microsecond else ""
    return moment.strftime(f"%Y-%m-%d %H:%M{seconds}") + ("Z" if value.tzinfo else "")


def _one_line(text: str) -> str:
    """The complaint, with DuckDB's line and caret left out."""
    return " ".join(line.strip() for line in text.partition("\nLINE")[0].splitlines() if line.strip())
