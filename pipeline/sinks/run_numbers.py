"""What a run says about itself: the `carbon_etl_*` series."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pipeline.sinks.batches import Batch, Sample
from pipeline.sinks.stores import Store
from pipeline.window import to_ms


@dataclass(frozen=True, kw_only=True)
class RunNumbers:
    """What a run says about itself and one cluster; null where it has no number to give."""

    cluster: str
    last_success_utc: datetime | None
    run_seconds: float
    rows: int
    failed_checks: Mapping[str, bool]
    residual_joules: float | None
    unpublished_hours: int


def pipeline_series(numbers: RunNumbers, now: datetime) -> list[Sample]:
    """The `carbon_etl_*` samples of one run and cluster, stamped at the run's time; a null number has no sample."""
    success = numbers.last_success_utc
    amounts = {
        "carbon_etl_last_success_timestamp_seconds": None if success is None else success.timestamp(),
        "carbon_etl_run_seconds": numbers.run_seconds,
        "carbon_etl_rows": float(numbers.rows),
        "carbon_etl_residual_joules": numbers.residual_joules,
        "carbon_etl_unpublished_hours": float(numbers.unpublished_hours),
    }
    cluster = ("cluster", numbers.cluster)
    samples = [Sample(name, (cluster,), to_ms(now), value) for name, value in amounts.items() if value is not None]
    for check, failed in sorted(numbers.failed_checks.items()):
        samples.append(Sample("carbon_etl_check_failed", (("check", check), cluster), to_ms(now), float(failed)))
    return samples


def write_now(store: Store, samples: list[Sample]) -> None:
    """Write samples stamped at the run's time: once, without reading, for the next run writes newer ones.

    Raises:
        RemoteWriteError: the store cannot be reached, or refuses.
    """
    if samples:
        store.send(Batch.of_samples(samples))
