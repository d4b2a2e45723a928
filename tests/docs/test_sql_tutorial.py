"""docs/sql.md is held to the program: every command, statement and script of it runs, and prints what it says."""

import csv
import io
import re
import shlex
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.sinks.idle import IDLE_VIEWS
from pipeline.sinks.views import DATABASE, refresh_database
from pipeline.sources import teams
from tests.queries import months

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the warehouse where the page has it."""
    place = tmp_path_factory.mktemp("tutorial")
    months.fill(place / "demo" / "warehouse")
    refresh_database(place / "demo" / "warehouse")
    return place


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def of(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


@pytest.mark.parametrize("line", [line for text in of("sh") for line in text.splitlines()])
def test_every_command_answers(line: str) -> None:
    program, *arguments = shlex.split(line)
    asked = CliRunner().invoke(app, arguments)
    assert program == "carbon-etl"
    assert asked.exception is None, asked.exception
    assert len(asked.stdout.splitlines()) > 1


def test_what_is_shown_is_what_is_printed() -> None:
    shown = [
        (command.splitlines()[-1], text)
        for (kind, command), (after, text) in pairwise(BLOCKS)
        if (kind, after) == ("sh", "text") and "--format" in command
    ]
    assert len(shown) == 3
    for command, text in shown:
        assert CliRunner().invoke(app, shlex.split(command)[1:]).stdout == text


def test_every_statement_runs_in_a_plain_session() -> None:
    (text,) = of("sql")
    with duckdb.connect(f"demo/warehouse/{DATABASE}", read_only=True) as connection:
        for statement in connection.extract_statements(text):
            assert connection.execute(statement).fetchall()


def test_every_script_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for text in of("python"):
        exec(compile(text, "docs/sql.md", "exec"), names)  # noqa: S102 # our own page
    assert "0.05" in capsys.readouterr().out  # 375 g for 7,500 requests
    assert names["by_hour"].tolist() == pytest.approx([150 + 300 + 150 + 75 + 225 + 37.5, 225 + 225 + 225 + 112.5])  # type: ignore[attr-defined]
    assert len(names["bill"]) == 3  # type: ignore[arg-type]


def test_the_map_of_teams_on_the_page_is_one(tmp_path: Path) -> None:
    (text,) = of("csv")
    path = tmp_path / "teams.csv"
    path.write_text(text, encoding="utf-8")
    assert len(teams.read(path, ["prod-eu"])) == len(list(csv.reader(io.StringIO(text)))) - 1


def test_the_ways_of_sharing_idle_energy_are_the_views() -> None:
    assert set(re.findall(r"^\| `(emissions_idle_\w+)` \|", PAGE, re.MULTILINE)) == set(IDLE_VIEWS)
