"""What a store that cannot be read was sent: a file beside the warehouse that takes the reading's place.

A sample is noted before it is sent, and noted again once the answer was 2xx. Whatever lies in between is sent again as
it is, same labels and same value, before anything else: a store that has it already is given what it has.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from pipeline.errors import SinkError, StoreFull
from pipeline.sinks.batches import Batch, Point, Series
from pipeline.sinks.held import Held
from pipeline.sinks.partitions import make_folder, store_errors
from pipeline.sinks.published_series import DISPLAY_SERIES, REVISED_SERIES
from pipeline.window import Window

FOLDER = "ledgers"
SCHEMA = """
    create table if not exists series(id integer primary key, cluster text, metric text, labels text,
        unique(metric, labels));
    create table if not exists sample(series integer, stamp_ms integer, value real, is_taken integer,
        primary key(series, stamp_ms)) without rowid;
    create index if not exists untaken on sample(is_taken) where not is_taken;
"""
FIND = "select id from series where metric = ? and labels = ?"
HELD = """
    select metric, labels, stamp_ms, value from sample join series on series = id
    where cluster = ? and stamp_ms > ? and stamp_ms < ?"""
UNANSWERED = """
    select metric, labels, stamp_ms, value from sample join series on series = id
    where not is_taken order by series, stamp_ms"""
Row: TypeAlias = tuple[int, int, float]


def ledger_path(root: Path, store: str) -> Path:
    """The file about one store."""
    return root / FOLDER / f"{quote(store, safe='')}.sqlite"


class Ledger:
    """The samples of one store; whoever writes holds the store's lock. Nothing is made before the first note.

    Raises (every method):
        StoreFull, StoreUnwritable, SinkError: the file cannot be written, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, batch: Batch) -> None:
        """Note samples that are about to be sent."""
        with self._open() as file:
            file.executemany("insert or replace into sample values (?, ?, ?, 0)", self._rows(file, batch))

    def taken(self, batch: Batch) -> None:
        """Note that they were answered with 2xx."""
        with self._open() as file:
            file.executemany("insert or replace into sample values (?, ?, ?, 1)", self._rows(file, batch))

    def refused(self, batch: Batch) -> None:
        """Forget samples of which none was stored."""
        with self._open() as file:
            keys = [row[:2] for row in self._rows(file, batch)]
            file.executemany("delete from sample where series = ? and stamp_ms = ?", keys)

    def unanswered(self) -> Batch:
        """Samples that may have been stored or not."""
        points: dict[Series, list[Point]] = {}
        for metric, labels, stamp_ms, value in self._ask(UNANSWERED):
            points.setdefault((metric, _labels(labels)), []).append((stamp_ms, value))
        return Batch.of_points(points)

    def held(self, cluster: str, window: Window) -> Held:
        """All samples about a cluster with `window.start < stamp < window.end`."""
        held = Held()
        for metric, text, stamp_ms, value in self._ask(HELD, cluster, window.start_ms, window.end_ms):
            labels = dict(_labels(text))
            revision = labels.pop("revision", "")
            held.add((metric, tuple(labels.items())), revision, stamp_ms, value)
        return held

    def _ask(self, query: str, *parameters: object) -> Sequence[tuple[str, str, int, float]]:
        if not self.path.is_file():
            return []
        with self._open() as file:
            return file.execute(query, parameters).fetchall()

    def _rows(self, file: sqlite3.Connection, batch: Batch) -> list[Row]:
        """Of our own series; a probe and a run's numbers are never compared."""
        rows: list[Row] = []
        edges, stamps, values = batch.edges.tolist(), batch.stamps_ms.tolist(), batch.values.tolist()
        for (metric, labels), start, end in zip(batch.series, edges, edges[1:], strict=False):
            if metric in REVISED_SERIES or metric in DISPLAY_SERIES:
                number = _number(file, metric, labels)
                rows += ((number, *point) for point in zip(stamps[start:end], values[start:end], strict=True))
        return rows

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        with store_errors(self.path):
            make_folder(self.path.parent)
            self.path.touch(0o640)
        try:
            with closing(sqlite3.connect(self.path)) as file:
                file.executescript(SCHEMA)
                with file:
                    yield file
        except sqlite3.Error as error:
            kind = StoreFull if error.sqlite_errorcode == sqlite3.SQLITE_FULL else SinkError
            raise kind(f"{self.path}: {error}: what that store is sent cannot be noted, so nothing is sent") from None


def _number(file: sqlite3.Connection, metric: str, labels: Sequence[tuple[str, str]]) -> int:
    text = json.dumps(labels, ensure_ascii=False)
    found = file.execute(FIND, (metric, text)).fetchone()
    if found is None:
        row = (dict(labels)["cluster"], metric, text)
        found = file.execute(
            "insert into series(cluster, metric, labels) values (?, ?, ?) returning id", row
        ).fetchone()
    return int(found[0])


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in json.loads(text))
