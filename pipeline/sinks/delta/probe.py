"""Whether an object store gives a number of a log to one writer only, which all else rests on."""

import secrets

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake._internal import DeltaFileSystemHandler
from deltalake.exceptions import CommitFailedError

from pipeline.sinks.delta.access import Access

FOLDER = "_probe"  # beside the tables


def keeps_commits_apart(access: Access) -> bool:
    """Let two writers commit after one version of a table of its own, which is deleted again.

    Raises:
        StoreUnwritable, StoreUnreachable: see `Access.errors`.
    """
    url = f"{access.url}/{FOLDER}/{secrets.token_hex(8)}"
    with access.errors("cannot try a commit"):
        DeltaTable.create(url, pa.schema({"number": pa.int64()}), storage_options=access.options)
        both = [DeltaTable(url, storage_options=access.options) for _ in range(2)]
        try:
            for table in both:
                table.create_write_transaction(
                    [], "append", table.schema(), commit_properties=CommitProperties(max_commit_retries=0)
                )
        except CommitFailedError:
            return True
        finally:
            DeltaFileSystemHandler(url, access.options).delete_dir("")
    return False
