"""Hand-made days (`tests.sinks.rows`) in an object store, without a run around them: `python -m tests.delta.stores`.

python -m tests.delta.stores s3://bucket/prefix EFFECT     commits the second day and dies right after the effect
"""

import os
import signal
import sys
from collections.abc import Mapping

from pipeline.sinks.delta.access import Access
from pipeline.sinks.delta.warehouse import ObjectStoreWarehouse
from pipeline.sinks.partitions import OnEffect, nothing
from tests.sinks import rows

COMMITTED = ("revisions", "quarantine", "node_energy", "processes", "emissions", "emissions_daily", "hours")
EFFECTS = [f"{table}{part}" for table in COMMITTED for part in (".temporary", "", ".uploaded", ".pushed")]


def open_store(path: str, env: Mapping[str, str], on_effect: OnEffect = nothing) -> ObjectStoreWarehouse:
    """As another machine opens it: nothing is shared but the store."""
    return ObjectStoreWarehouse(Access.of(path, env), None, on_effect)


def contents(path: str, env: Mapping[str, str]) -> dict[str, list[dict[str, object]]]:
    """What readers see who open it now."""
    warehouse = open_store(path, env)  # held while it is read: its folder goes with it
    return rows.contents(warehouse.root)


def commit_first(warehouse: ObjectStoreWarehouse) -> None:
    """Hours 0 and 1."""
    rows.commit_like_a_run(warehouse, rows.complete(rows.HOURS[:2]), rows.day(rows.HOURS[:2]), rows.FIRST)


def main() -> None:
    path, last = sys.argv[1:]

    def die(effect: str) -> None:
        if effect == last:
            os.kill(os.getpid(), signal.SIGKILL)

    rows.commit_like_a_run(open_store(path, os.environ, die), *rows.second_commit(), rows.SECOND)


if __name__ == "__main__":
    main()
