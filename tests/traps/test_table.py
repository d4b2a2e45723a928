"""The page beside this file is held to the tests it names."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parent
ROW = re.compile(r"^\| (?P<row>[^|]+) \| [^|]+ \| (?P<tests>[^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
RULES = [f"R{number}" for number in range(1, 11)]


def rows() -> dict[str, list[tuple[str, str]]]:
    """(file, test) by row of the sheet."""
    page = (HERE / "README.md").read_text(encoding="utf-8")
    found = [(match["row"], NAMED.findall(match["tests"])) for match in ROW.finditer(page)]
    assert len(dict(found)) == len(found), "a row stands twice"
    return {row: tests for row, tests in found if row not in ("row", "---")}


def names_in(path: Path) -> list[str]:
    return re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("row", rows())
def test_every_row_names_tests_that_exist(row: str) -> None:
    named = rows()[row]
    assert named
    assert [f"{file}::{test}" for file, test in named if test not in names_in(TESTS / file)] == []


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_tests_of_its_name_and_they_stand_in_its_row(rule: str) -> None:
    own = {(f"traps/{path.name}", test) for path in HERE.glob("test_*.py") for test in names_in(path)}
    of_rule = {(file, test) for file, test in own if test.startswith(f"test_{rule.lower()}_")}
    assert of_rule
    assert of_rule <= set(rows()[rule])


def test_every_test_of_a_trap_stands_in_the_table() -> None:
    named = {pair for tests in rows().values() for pair in tests}
    files = [path for path in HERE.glob("test_*.py") if path != Path(__file__)]
    assert [test for path in files for test in names_in(path) if (f"traps/{path.name}", test) not in named] == []
