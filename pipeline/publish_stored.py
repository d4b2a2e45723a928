"""What `carbon-etl publish` does: the stores are made to show what the warehouse holds, and nothing else."""

from collections.abc import Sequence
from datetime import datetime

from pipeline.errors import ConfigError
from pipeline.job import LOCK_SECONDS, Job
from pipeline.publication import publish_cluster
from pipeline.report import ClusterOutcome, RunReport
from pipeline.sinks.block_sets import BlockSets
from pipeline.sinks.warehouse import Warehouse


def publish_stored(job: Job, clusters: list[str], since: datetime | None, discarded: Sequence[str] = ()) -> RunReport:
    """Publish what the warehouse holds, as the end of a run does; from `since` on, every hour is looked at again.

    Raises:
        ConfigError: a block set that is to be discarded is not there.
    """
    began, report, warehouse = job.clock.monotonic(), job.begin("publish"), job.warehouse()
    for name in discarded:
        _discard(job, warehouse, name)
    for name in clusters:
        outcome = ClusterOutcome(name, job.settings.cluster(name).intensity.factor_type)
        report.clusters.append(outcome)
        report.errors += publish_cluster(
            job.settings, job.env, job.clock, warehouse, outcome, report, since, look_again=True
        )
    return job.finish(warehouse, report, began)


def _discard(job: Job, warehouse: Warehouse, name: str) -> None:
    """Forget a block set of whichever store has it."""
    found = (BlockSets(warehouse.root, store).named(name) for store in job.settings.remote_write)
    chosen = next((one for one in found if one is not None), None)
    if chosen is None:
        raise ConfigError(f"no store has a block set {name!r}: `carbon-etl publish` names those that wait")
    with warehouse.store_lock(chosen.settings.name, job.clock, LOCK_SECONDS):
        if not job.dry_run:
            chosen.discard()
