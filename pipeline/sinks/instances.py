"""Databases in memory, with views of one warehouse that can read its tables and nothing else.

To make one costs more than most questions: one is kept for the next question of this process. It has functions and
views and nothing of any file, for files are replaced. Threads share it, each by a connection of its own; a fork takes
none along.
"""

import os
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from threading import Lock

import duckdb

from pipeline.sinks import months, scans
from pipeline.sinks.signals import MACROS
from pipeline.sinks.teams import TABLE_MACROS
from pipeline.tables import TABLES


class Instance:
    """A database in memory, in UTC. Its settings are locked, so that text from a user cannot undo them."""

    def __init__(self, root: Path, settings: Mapping[str, str], *, has_footers: bool) -> None:
        """Make it, without a view.

        Args:
            root: the warehouse, an absolute path.
            settings: of DuckDB besides.
            has_footers: whether a file's footer is read once, though several views look at it.
        """
        self._connection = duckdb.connect(":memory:", config=dict(settings))
        self._made: dict[str, str] = {}
        roots = {str(root), scans.glob_escaped(root)}
        folders = sorted(f"{spelling}/{table}" for spelling in roots for table in (*TABLES, months.FOLDER))
        for setting in (
            "global TimeZone = 'UTC'",
            f"parquet_metadata_cache = {has_footers}",
            f"allowed_directories = [{', '.join(map(scans.quoted, folders))}]",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            self._connection.execute(f"set {setting}")

    def show(self, texts: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
        """A connection to it, once it has these views and macros; see `create`."""
        create(self._connection, texts, self._made)
        return self._connection.cursor()


_keeping = Lock()
_kept: dict[Path, Instance] = {}


def show_kept(root: Path, texts: Callable[[], Mapping[str, str]]) -> duckdb.DuckDBPyConnection:
    """A connection to the database that is kept of a warehouse; of the one kept before, connections stay good.

    Threads look at the files and show them one after the other: no view goes back to what was there before.
    """
    with _keeping:
        if root not in _kept:
            _kept.clear()
            # A file is told by inode, size and second: one that took another's place may come by all three.
            _kept[root] = Instance(root, {"enable_external_file_cache": "false"}, has_footers=False)
        return _kept[root].show(texts())


def _before_fork() -> None:
    """A child would have the database without its threads."""
    _keeping.acquire()
    _kept.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_keeping.release, after_in_child=_keeping.release)


def create(connection: duckdb.DuckDBPyConnection, texts: Mapping[str, str], made: dict[str, str]) -> None:
    """Create those of these views and macros that are not `made`, or were made of another text.

    DuckDB plans a view when it is made, with all that it is made of. So that files are looked at once and not for every
    view above them, views of files show nothing until the others stand. Other connections see all of it at once.
    """
    stated = dict[str, str]()
    connection.execute("begin; create schema if not exists stored")
    of_files = {name: text for name, text in texts.items() if name in scans.VIEWS_OF_FILES}
    empty = {name: scans.without_files(name) for name in of_files if name not in made}
    others = {name: text for name, text in texts.items() if name not in of_files}
    try:
        for name, text in chain(empty.items(), others.items(), of_files.items()):
            if stated.get(name, made.get(name)) != text:
                kind = "macro" if name in MACROS or name in TABLE_MACROS else "view"
                table = "table " if name in TABLE_MACROS else ""
                connection.execute(f"create or replace {kind} {name} as {table}{text}")
                stated[name] = text
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")
    made.update(stated)
