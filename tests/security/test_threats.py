"""docs/threats.md names tests: each is there."""

import ast
import re

from tests.product import ROOT

PAGE = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")
OF_TESTS = re.compile(
    r"`(tests/(?:[a-z_]+/)*)(test_[a-z_]+\.py)(?:::(test_[a-z_]+))?`|`(test_[a-z_]+\.py)(?:::(test_[a-z_]+))?`"
)


def test_every_test_that_the_threat_model_names_is_there() -> None:
    found = OF_TESTS.findall(PAGE)
    assert len(found) > 40
    for folder, file, name, own_file, own_name in found:
        path = ROOT / (folder or "tests/security/") / (file or own_file)
        assert path.is_file(), path
        functions = {part.name for part in ast.walk(ast.parse(path.read_text())) if isinstance(part, ast.FunctionDef)}
        assert not (name or own_name) or (name or own_name) in functions, f"{path.name}: {name or own_name}"


def test_the_threat_model_names_every_file_of_these_tests() -> None:
    for path in (ROOT / "tests" / "security").glob("test_*.py"):
        assert path.name in PAGE, path.name
