"""One Delta table: a log of commits says which objects hold its rows; no object is ever written twice.

A commit takes the next number of the log, which the store gives to one writer only (a conditional PUT). Who comes
second looks at what the first did; where both replaced one partition it is refused, and its rows are not there.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Field, Schema
from deltalake._internal import DeltaFileSystemHandler  # of the same credentials, and of tables that are not there yet
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from pipeline.errors import SchemaError, StoreConflict, StoreUnreachable
from pipeline.sinks.delta.access import Access
from pipeline.tables import REPLACED_TABLES, TABLES

CONFIGURATION = {
    "delta.checkpointInterval": "20",  # what opening a table has to read grows until the next
    "delta.deletedFileRetentionDuration": "interval 7 days",
    "delta.logRetentionDuration": "interval 30 days",
}
RETENTION_HOURS = 7 * 24
ATTEMPTS = 100  # each one that is lost is a commit of somebody else
CHUNK_BYTES = 8 << 20
DATE = r"date=\d{4}-\d{2}-\d{2}"
REPLACED_PATH = rf"cluster=[a-z0-9-]+/{DATE}/%s-[0-9a-f]+\.parquet"
ADDED_PATH = rf"{DATE}/[A-Za-z0-9_][A-Za-z0-9._-]*\.parquet"


class RemoteTable:
    """A table of a warehouse in an object store.

    Args:
        access: the store.
        name: one of `tables.TABLES`.
        on_effect: called with `<table>.uploaded` when an object is there, which no reader knows of yet.
    """

    def __init__(self, access: Access, name: str, on_effect: Callable[[str], None]) -> None:
        self.name = name
        self.is_replaced = name in REPLACED_TABLES
        self.sizes: Mapping[str, int] = {}
        """Of every object that holds rows, by its path below the table: its bytes, when last looked."""
        self._access, self._on_effect = access, on_effect
        self._url = f"{access.url}/{name}"
        self._log: DeltaTable | None = None
        self._is_behind = True

    def refresh(self) -> None:
        """Look at the log again.

        Raises:
            SchemaError: it names an object that no carbon-etl wrote.
            StoreUnwritable, StoreUnreachable: see `Access.errors`.
        """
        with self._errors("cannot read"):
            if self._log is None:
                with suppress(TableNotFoundError):
                    self._log = DeltaTable(self._url, storage_options=self._access.options)
            else:
                self._log.update_incremental()
            if self._log is not None:
                adds = pa.table(self._log.get_add_actions(flatten=True))
                self.sizes = {row["path"]: row["size_bytes"] for row in adds.select(["path", "size_bytes"]).to_pylist()}
        self._is_behind = False
        known = REPLACED_PATH % self.name if self.is_replaced else ADDED_PATH
        for path in self.sizes:
            if not re.fullmatch(known, path):
                raise SchemaError(f"{self._url}: {path!r} is no file of this table: another program wrote there")

    def download(self, path: str, target: Path) -> None:
        """Write an object to a file."""
        with self._errors(f"cannot read {path}"), target.open("wb") as sink:
            source = self._handler().open_input_file(path)
            while chunk := source.read(CHUNK_BYTES):
                sink.write(chunk)

    def add(self, path: str, local: Path) -> None:
        """Make an object of a file, and its rows rows of the table."""
        self._commit(self._uploaded(path, local))

    def replace(self, partition: str, before: str | None, path: str | None, local: Path) -> None:
        """Make a file the only object of a partition, or leave it none.

        Args:
            partition: `cluster=.../date=...`.
            before: the object that these rows were made from; None for none.
            path: the object; None for none.
            local: the file.

        Raises:
            StoreConflict: another writer replaced the partition meanwhile; nothing of this is there.
        """
        self._commit(None if path is None else self._uploaded(path, local), partition, before)

    def objects_of(self, partition: str) -> list[str]:
        """The objects of a partition when last looked."""
        return [path for path in self.sizes if path.startswith(f"{partition}/")]

    def compact(self, days: Collection[str]) -> None:
        """Put the objects of each of these dates together; the old ones stay for readers until `vacuum`."""
        if self._log is not None:
            with self._errors("cannot compact"), suppress(CommitFailedError):  # another run does it
                self._log.optimize.compact(partition_filters=[("date", "in", list(days))])

    def vacuum(self) -> None:
        """Delete objects that no commit of the last seven days names, those of killed runs among them."""
        if self._log is not None:
            with self._errors("cannot vacuum"), suppress(CommitFailedError):
                self._log.vacuum(RETENTION_HOURS, dry_run=False, full=True)

    def _errors(self, what: str) -> AbstractContextManager[None]:
        return self._access.errors(f"{what} {self.name}")

    def _handler(self) -> DeltaFileSystemHandler:
        return DeltaFileSystemHandler(self._url, self._access.options)

    def _uploaded(self, path: str, local: Path) -> AddAction:
        content = local.read_bytes()
        with self._errors(f"cannot write {path}"):
            sink = self._handler().open_output_stream(path)
            sink.write(content)
            sink.close()  # type: ignore[attr-defined] # which its stub forgets
        self._on_effect(f"{self.name}.uploaded")
        partition = dict(part.split("=", 1) for part in path.split("/")[:-1])
        stats = json.dumps({"numRecords": pq.read_metadata(local).num_rows})
        return AddAction(path, len(content), partition, local.stat().st_mtime_ns // 1_000_000, True, stats)  # noqa: FBT003 # a record of the protocol

    def _commit(self, action: AddAction | None, partition: str | None = None, before: str | None = None) -> None:
        """Take the next number of the log, for as long as nobody else changed what this replaces."""
        for _ in range(ATTEMPTS):
            log = self._made()
            if action is not None and action.path in self.sizes:
                return  # an answer was lost, and not the commit
            if partition is not None and self.objects_of(partition) != ([] if before is None else [before]):
                raise StoreConflict(f"{self._url}/{partition}: another run changed it meanwhile: run again")
            self._is_behind = True
            with suppress(CommitFailedError), self._errors("cannot write"):
                self._write(log, action, partition)
                return
        raise StoreConflict(f"{self._url}: {ATTEMPTS} commits of other runs came first: run again")

    def _made(self) -> DeltaTable:
        """The table with every column of today's schema, just as `sizes` tells of it."""
        with self._errors("cannot make"):
            if self._log is None:
                self._create()
            missing = [] if self._log is None else _missing(self._log, TABLES[self.name])
            if self._log is not None and missing:
                with suppress(CommitFailedError):  # another run added them
                    self._log.alter.add_columns(missing)
                self._is_behind = True
        if self._log is None or self._is_behind:
            self.refresh()
        if self._log is None:
            raise StoreUnreachable(f"{self._url} was made and is not there: run again")
        return self._log

    def _create(self) -> None:
        columns = ["cluster", "date"] if self.is_replaced else ["date"]
        schema = TABLES[self.name].append(pa.field("date", pa.date32()))
        with suppress(DeltaError):  # another run has just made it
            DeltaTable.create(
                self._url, schema, partition_by=columns, configuration=CONFIGURATION,
                storage_options=self._access.options,
            )  # fmt: skip

    def _write(self, log: DeltaTable, action: AddAction | None, partition: str | None) -> None:
        """One attempt, which another commit since `log` was looked at makes fail."""
        filters = None if partition is None else [_equal(part) for part in partition.split("/")]
        log.create_write_transaction(
            [] if action is None else [action],
            "append" if partition is None else "overwrite",
            log.schema(),
            log.metadata().partition_columns,
            filters,
            commit_properties=CommitProperties(max_commit_retries=0),
        )


def _missing(log: DeltaTable, schema: pa.Schema) -> list[Field]:
    """Columns that a table of an older release lacks."""
    known = {field.name for field in log.schema().fields}
    return [field for field in Schema.from_arrow(schema).fields if field.name not in known]


def _equal(part: str) -> tuple[str, str, str]:
    """`cluster=a` as a condition."""
    name, _, value = part.partition("=")
    return name, "=", value
