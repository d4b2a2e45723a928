"""`carbon-etl sql`: one question, a shipped one by name, or a place to ask many."""
# ruff: noqa: FBT002, PLC0415 # typer reads the signature; a command imports what it needs

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from pipeline.errors import CarbonEtlError, ConfigError
from pipeline.terminal import DEFAULT_CONFIG, ConfigOption, load_settings, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipeline.sinks.warehouse import Warehouse

Format: TypeAlias = Literal["table", "csv", "json"]
PIPED_WIDTH = 200  # of a table that is not printed on a terminal
REMEMBERED = 1000  # lines of the history
HELP = """\
A question ends with ; and may take several lines. Ctrl-C gives one up, Ctrl-D ends.
.list                     the shipped queries
.show NAME                the text of one
.run NAME [name=value]    its answer
.tables                   tables, views and macros
.mode table|csv|json      how answers are printed"""


def sql(
    query: Annotated[
        str | None, typer.Argument(help="SQL, the path of a .sql file, or the name of a shipped query; - reads stdin.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    warehouse: Annotated[str | None, typer.Option(help="A folder or s3://bucket/prefix, not the config's.")] = None,
    kind: Annotated[Format, typer.Option("--format", help="table, csv or json.")] = "table",
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="name=value of a $name.")] = None,
    list_queries: Annotated[bool, typer.Option("--list", help="The shipped queries and their parameters.")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="As always: there is no other way.")] = True,
) -> None:
    """Ask the warehouse in SQL (DuckDB, read only); without a question, a place to ask many."""
    del read_only  # for scripts that say what they rely on
    from pipeline.sinks.opening import open_path, open_warehouse
    from pipeline.sinks.questions import assignments

    if list_queries:
        tell(*_listed())
        return
    given = assignments(param or [])
    if query is None and not sys.stdin.isatty():
        raise ConfigError("ask something: SQL, a .sql file or a name of --list; - reads stdin; terminals get a shell")
    env = os.environ
    opened = open_path(warehouse, env) if warehouse else open_warehouse(load_settings(config).warehouse, env)
    shell = Shell(opened, kind)
    if query is not None:
        shell.ask(_text_of(query), given)
        return
    tell(f"{opened.location()['path']}: read only; .help says what else there is")
    with _history(os.environ):
        shell.converse(input)


def _text_of(query: str) -> str:
    """The statement that an argument means: itself, a file's, a shipped one's, or what comes in."""
    if query == "-":
        return sys.stdin.read()
    if query.endswith(".sql"):
        path = Path(query)
        if not path.is_file():
            raise ConfigError(f"no query file at {path}")
        return path.read_text(encoding="utf-8")
    return _shipped(query) if query.replace("_", "").isalnum() else query


def _shipped(name: str) -> str:
    from pipeline.settings import nearest
    from pipeline.sinks.sql import shipped_queries

    queries = shipped_queries()
    if name not in queries:
        raise ConfigError(f"no query {name!r}{nearest(name, list(queries), ': --list names them')}")
    return queries[name]


def _listed() -> "Iterator[str]":
    """Each shipped query with its question and its parameters."""
    from pipeline.sinks.questions import parameters
    from pipeline.sinks.sql import question, shipped_queries

    for name, text in shipped_queries().items():
        yield f"{name}: {question(text)}"
        for one in parameters(text):
            default = "" if one.default is None else f", {one.default} unless given"
            yield f"    {one.name} ({one.kind}{default}): {one.meaning}"


class Shell:
    """A warehouse that is asked, each question over the files that are there then.

    Args:
        warehouse: held while questions come; what an object store had is looked up once, when it is opened.
        kind: how answers are printed.
    """

    def __init__(self, warehouse: "Warehouse", kind: Format) -> None:
        self.warehouse, self.kind = warehouse, kind

    def ask(self, text: str, given: Mapping[str, str]) -> None:
        """Print the answer to one statement."""
        from pipeline.sinks.sql import run_query

        self._print(run_query(self.warehouse.root, text, given))

    def converse(self, read_line: Callable[[str], str]) -> None:
        """Answer until the input ends; what cannot be answered is said and costs nothing else."""
        waiting: list[str] = []
        while True:
            try:
                line = read_line("     ...> " if waiting else "carbon-etl> ")
                waiting = self._take(waiting, line)
            except EOFError:
                return
            except KeyboardInterrupt:
                waiting = []
                tell("", err=True)
            except CarbonEtlError as error:
                waiting = []
                tell(f"error: {error}", err=True)

    def _take(self, waiting: list[str], line: str) -> list[str]:
        """Do what a line completes; what is still waiting for its end."""
        if not waiting and line.lstrip().startswith("."):
            self._do(*line.split())
            return []
        waiting = [*waiting, line] if line.strip() else waiting
        if not line.rstrip().endswith(";"):
            return waiting
        self.ask("\n".join(waiting), {})
        return []

    def _do(self, word: str, *rest: str) -> None:
        """One of the words that begin with a dot."""
        from pipeline.sinks.questions import assignments

        match word, rest:
            case ".help", ():
                tell(*HELP.splitlines())
            case ".list", ():
                tell(*_listed())
            case ".tables", ():
                tell(*_tables())
            case ".mode", ("table" | "csv" | "json" as kind,):
                self.kind = kind
            case ".show", (name,):
                tell(*_shipped(name).splitlines())
            case ".run", (name, *given):
                self.ask(_shipped(name), assignments(given))
            case _:
                raise ConfigError(f"{' '.join((word, *rest))}: .help says what there is")

    def _print(self, answer: "pa.Table") -> None:
        from pipeline.sinks.answers import csv_lines, json_lines

        if self.kind == "table":
            from rich.console import Console

            from pipeline.sinks.sql import render

            Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(render(answer))
        else:
            for line in csv_lines(answer) if self.kind == "csv" else json_lines(answer):
                tell(line)


def _tables() -> "Iterator[str]":
    """Tables, then the views that are made of them, then macros."""
    from pipeline.sinks.signals import MACROS
    from pipeline.sinks.teams import TABLE_MACROS
    from pipeline.sinks.views import DERIVED
    from pipeline.tables import TABLES

    yield f"tables: {', '.join(TABLES)}"
    yield f"views: {', '.join(name for name in DERIVED if '.' not in name and name not in TABLES)}"
    yield f"macros: {', '.join([*TABLE_MACROS, *MACROS])}"


@contextmanager
def _history(env: Mapping[str, str]) -> "Iterator[None]":
    """Inside, lines can be edited and recalled, those of earlier days too, where this Python has readline."""
    try:
        import readline
    except ImportError:  # as in some builds
        yield
        return
    home = Path(env.get("HOME", "."))
    path = Path(env.get("XDG_STATE_HOME") or home / ".local" / "state") / "carbon-etl" / "sql_history"
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(REMEMBERED)
    try:
        yield
    finally:
        with suppress(OSError):  # a home that cannot be written costs the memory, nothing else
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
            path.chmod(0o600)
