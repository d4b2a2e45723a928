"""Names of others on a terminal and in logs: they are shown, and command nothing."""

import ast
import json
import os
import pty
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import visible
from pipeline.sinks.sql import readable
from pipeline.sinks.warehouse import Warehouse
from pipeline.sources.wording import line
from tests.forks import Asked, Ended, forks
from tests.product import ROOT, SECONDS, Product
from tests.sinks import rows
from tests.sinks.rows import HOURS

TITLE, CLEAR, C1, TURNED = "\x1b]0;owned\x07", "\x1b[2J", "\x9b31m", "\u202e"
HOSTILE = f"{TITLE}{CLEAR}{C1}{TURNED}\r\nerror: all is well\u2028\x00\x7f"
STYLES = re.compile(r"\x1b\[[0-9;]*m")  # our own colours


@given(st.text())
def test_what_is_visible_is_printable_and_printable_text_stays(text: str) -> None:
    assert visible(text).isprintable()
    assert visible(visible(text)) == visible(text)
    if text.isprintable():
        assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (CLEAR, "\\x1b[2J"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        (TURNED, "\\u202e"),
        (C1, "\\x9b31m"),
        ("\u2028\ud800", "\\u2028\\ud800"),
        ("Zürich 東京 ✓", "Zürich 東京 ✓"),
    ],
)
def test_commands_are_shown_as_their_escapes(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("value", [HOSTILE, [HOSTILE], {"a": HOSTILE}, HOSTILE.encode(), [[HOSTILE]], (HOSTILE, 1)])
def test_any_value_of_an_answer_is_one_printable_line(value: object) -> None:
    assert readable(value).isprintable()


def test_words_of_a_server_are_one_printable_line() -> None:
    assert line(HOSTILE).isprintable()


def on_a_terminal(*command: str, env: dict[str, str]) -> str:
    """What a command writes to a terminal, errors and all."""
    ours, its = pty.openpty()
    process = subprocess.Popen(command, cwd=ROOT, stdin=its, stdout=its, stderr=its, env={**os.environ, **env})
    os.close(its)
    said = read(ours)
    assert process.wait(60) is not None
    return said


def forked_on_a_terminal(product: Product, *arguments: str) -> str:
    """What a command of the product writes to one."""
    ours, its = pty.openpty()
    env = os.environ | {"CARBON_ETL_CONFIG": str(product.config)}
    asked = Asked(arguments, env, 0o022, SECONDS, terminal=os.ttyname(its))

    def play() -> Ended | None:
        try:
            return forks(*product.bare.items()).end(asked)
        finally:
            os.close(its)

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(play)
        said = read(ours)
    assert ended.result() is not None
    return said


def read(ours: int) -> str:
    """All that is written to a terminal until nobody has it open any more."""
    said = b""
    while True:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    return said.decode(errors="surrogateescape")


def harmless(said: str) -> bool:
    """Whether a screen full of lines has our own colours and line ends, and no other command."""
    lines = STYLES.sub("", said).replace("\r\n", "\n").split("\n")
    assert not [line for line in lines if line.startswith("error: all is well")], said
    return all(line.isprintable() for line in lines)


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """A warehouse whose workloads have hostile names."""
    made = Product(tmp_path, "http://127.0.0.1:9")
    day = rows.day(HOURS[:1])
    names = pa.array([HOSTILE] * day.emissions.num_rows, pa.string())
    at = day.emissions.schema.get_field_index("namespace")
    hostile = replace(day, emissions=day.emissions.set_column(at, "namespace", names))
    rows.commit(Warehouse(made.warehouse), rows.complete(HOURS[:1]), hostile)
    return made


@pytest.mark.parametrize(
    "arguments",
    [
        ("sql", "select namespace, [namespace] as l, {'a': namespace} as s, namespace::blob as b from emissions"),
        ("sql", f'select 1 as "{CLEAR}"'),
        ("sql", f"select 1 from {CLEAR}"),
        ("sql", "select error(namespace) from emissions"),
        ("doctor", "--explain", HOSTILE.replace("\x00", ""), "2026-11-01T08:00Z"),
        ("run", "--cluster", CLEAR),
        ("config", "check", "--config", CLEAR),
        ("grid", "zone", CLEAR),
        ("settled", "--since", CLEAR),
    ],
)
def test_no_command_lets_a_name_command_the_terminal(arguments: tuple[str, ...], product: Product) -> None:
    said = forked_on_a_terminal(product, *arguments)
    assert said
    assert harmless(said)


def test_what_is_printed_into_a_file_is_harmless_when_that_is_shown(product: Product) -> None:
    said = product.call("sql", "select namespace from emissions")
    assert "owned" in said.out
    assert harmless(said.out)


LOGGING = """
import structlog, sys
from pipeline.terminal import configure_logs
configure_logs(20)
secret = "s3cr3t-local"
log = structlog.get_logger()
log.info("node " + sys.argv[1], node=sys.argv[1], nodes=[sys.argv[1]])
try:
    raise ValueError("bad")
except ValueError:
    log.exception("failed")
"""


def test_a_log_line_on_a_terminal_is_one_line_and_shows_no_local_variable() -> None:
    name = HOSTILE.replace("\x00", "")
    said = on_a_terminal(sys.executable, "-c", LOGGING, name, env={})
    assert harmless(said)
    assert "owned" in said
    assert "s3cr3t-local" not in said.replace('secret = "s3cr3t-local"', "")


def test_a_log_line_elsewhere_is_one_json_document() -> None:
    name = HOSTILE.replace("\x00", "")
    done = subprocess.run(
        [sys.executable, "-c", LOGGING, name], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    first, second = done.stderr.splitlines()
    assert json.loads(first)["node"] == name
    assert first.isprintable()
    assert json.loads(second)["event"] == "failed"


def test_only_the_terminal_module_prints_and_others_only_json() -> None:
    """A name that is printed elsewhere would not be made visible."""
    wrong = []
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("typer.echo", "click.echo", "print"):
                said = ast.unparse(call.args[0])
                is_ours = "to_json(" in said or "dumps(" in said or "__version__" in said
                if path.name != "terminal.py" and not is_ours:
                    wrong.append(f"{path.relative_to(ROOT)}:{call.lineno}: {said}")
    assert wrong == []
