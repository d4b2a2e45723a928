"""`carbon-etl sql`: questions by name with parameters, three ways to print them, and a conversation."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.cli_sql import Shell
from pipeline.errors import ConfigError
from pipeline.sinks.answers import csv_lines, json_lines
from pipeline.sinks.sql import run_query, shipped_queries
from pipeline.sinks.warehouse import Warehouse
from tests.product import DEFAULT_INSTALL, ROOT, Product
from tests.queries import months


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    made = Product(tmp_path_factory.mktemp("asked"), "http://127.0.0.1:9")
    months.fill(made.warehouse)
    return made


def ask(root: Path, *arguments: str, stdin: str = "") -> str:
    """What the command prints, in this process."""
    asked = CliRunner().invoke(app, ["sql", *arguments, "--warehouse", str(root)], input=stdin)
    if asked.exception is not None and not isinstance(asked.exception, SystemExit):
        raise asked.exception
    assert asked.exit_code == 0
    return asked.stdout


def test_every_query_is_listed_with_its_question_and_parameters(product: Product) -> None:
    told = ask(product.warehouse, "--list")
    for name in shipped_queries():
        assert f"\n{name}: " in f"\n{told}"
    assert "    price_per_kwh (number): of facility energy" in told
    assert "    most (number, 20 unless given): so many namespaces" in told


def test_a_query_is_asked_by_its_name_with_parameters_and_answered_as_json_or_csv(product: Product) -> None:
    given = ("chargeback", "--param", "start=2026-11-01", "-p", "price_per_kwh=0.2", "--format")
    said = product.call("sql", *given, "json")
    assert (said.code, said.errors) == (0, [])
    first = json.loads(said.out)[0]
    assert (first["team"], first["month_utc"], first["emissions_gco2e"]) == ("green", "2026-11-01", 825)
    told = list(csv.DictReader(io.StringIO(ask(product.warehouse, *given, "csv"))))
    assert [row["team"] for row in told] == ["green", "platform", "(no team)"]
    assert float(told[0]["cost"]) == pytest.approx(first["cost"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("chargebak",), "no query 'chargebak': did you mean 'chargeback'?"),
        (("chargeback", "-p", "start"), "parameter 'start': write each once, as name=value"),
        (("chargeback", "-p", "stat=1"), "the query has no parameter 'stat': did you mean 'start'?"),
        (("select $x",), "$x has no value: --param x=..."),
        ((), "ask something: SQL, a .sql file or a name of --list"),
    ],
)
def test_what_cannot_be_asked_is_said(product: Product, arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ask(product.warehouse, *arguments)
    assert complaint in str(refused.value)


def test_a_question_may_come_in_by_a_pipe_and_has_parameters_of_its_own(product: Product) -> None:
    question = "select count(*) as n from emissions where namespace = $of"
    assert ask(product.warehouse, "-", "-p", "of=shop", "--format", "csv", stdin=question) == "n\n5\n"


def answers(text: str) -> tuple[list[str], list[str]]:
    answer = run_query(Path("nowhere"), text)
    return list(csv_lines(answer)), list(json_lines(answer))


def test_what_no_number_or_text_can_say_is_still_said() -> None:
    _, told = answers(
        """select timestamptz '2026-11-01 00:00:00Z' as t, date '2026-11-01' as d, 1/0.0 as inf, [1, null] as l,
        {'a': 'nan'::double} as s, 12345678901234567890123::hugeint as h, 0.1::decimal(9, 1) as f, true as b, null as n,
        'ü' as u"""
    )
    assert "".join(told).isascii()
    assert json.loads("".join(told)) == [
        {"t": "2026-11-01T00:00:00Z", "d": "2026-11-01", "inf": "inf", "l": [1, None], "s": {"a": "nan"},
         "h": 12345678901234567890123, "f": 0.1, "b": True, "n": None, "u": "ü"}
    ]  # fmt: skip
    assert answers("select 1 as n where false") == (["n"], ["[]"])
    assert json.loads("".join(answers("from range(3)")[1])) == [{"range": n} for n in range(3)]


def test_no_cell_of_a_csv_is_a_formula() -> None:
    lines, _ = answers("select '=1+1' as a, '-x' as b, -1.5 as c, 'a,\"b' as d, [1, 2] as e, null as f, false as g")
    assert next(csv.reader(lines[1:])) == ["'=1+1", "'-x", "-1.5", 'a,"b', "[1, 2]", "", "false"]


def test_a_time_that_no_calendar_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="outside of the years 1 to 9999"):
        answers("select timestamp 'infinity' as t")


class Typist:
    """Types lines; an exception among them is raised instead."""

    def __init__(self, *lines: str | type[BaseException]) -> None:
        self._lines: Iterator[str | type[BaseException]] = iter([*lines, EOFError])
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        line = next(self._lines)
        if isinstance(line, str):
            return line
        raise line


def converse(root: Path, capsys: pytest.CaptureFixture[str], *lines: str | type[BaseException]) -> tuple[str, str]:
    typist = Typist(*lines)
    Shell(Warehouse(root), "table").converse(typist)
    said = capsys.readouterr()
    return said.out, said.err


def test_a_conversation(product: Product, capsys: pytest.CaptureFixture[str]) -> None:
    root = product.warehouse
    out, err = converse(root, capsys, ".mode csv", "select 1 as one,", "2 as two", ";", "select 3 as three;")
    assert (out, err) == ("one,two\n1,2\nthree\n3\n", "")
    out, _ = converse(root, capsys, ".mode json", ".run budget_state month=2026-10")
    assert json.loads(out)[0]["emissions_gco2e"] == 900
    out, _ = converse(root, capsys, ".tables")
    assert "emissions_by_team" in out
    assert "gco2e_by(names" in out
    out, _ = converse(root, capsys, ".list", ".help")
    assert "chargeback: What does each team" in out
    assert ".mode table|csv|json" in out
    out, _ = converse(root, capsys, ".show recent_runs")
    assert out == shipped_queries()["recent_runs"]


def test_a_mistake_or_ctrl_c_costs_the_question_and_nothing_else(
    product: Product, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ("selekt", ";", ".mode xml", ".nonsense", "select", KeyboardInterrupt, "", "drop table x;", ".mode csv",
             "select 1 as n;")  # fmt: skip
    out, err = converse(product.warehouse, capsys, *lines)
    assert out == "n\n1\n"
    assert err.count("error: ") == 4
    assert "only questions can be asked here" in err


def read_until(master: int, word: bytes) -> bytes:
    said = b""
    while word not in said:
        said += os.read(master, 65536)
    return said


def test_on_a_terminal_it_greets_remembers_lines_and_ends(product: Product, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    env = {**DEFAULT_INSTALL, "PATH": os.environ["PATH"], "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "sql", "--warehouse", str(product.warehouse), "--format", "csv"],
        cwd=ROOT, env=env, stdin=slave, stdout=slave, stderr=slave,
    ) as shell:  # fmt: skip
        os.close(slave)
        assert b"read only; .help says what else there is" in read_until(master, b"carbon-etl> ")
        os.write(master, b"select count(*) as rows from hours;\n")
        assert b"rows\r\n4\r\n" in read_until(master, b"\ncarbon-etl> ")
        os.write(master, b"\x04")
        assert shell.wait(60) == 0
    os.close(master)
    history = tmp_path / "carbon-etl" / "sql_history"
    assert "select count(*) as rows from hours;" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_an_answer_is_read_as_it_comes_with_parameters_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the answer is larger than 8 MB"):
        run_query(tmp_path, "select range, $x as x from range(100_000_000_000)", {"x": "1"}, most_bytes=8 << 20)
