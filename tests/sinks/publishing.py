"""Hand-made hours of a cluster, and a real store that tells what it is sent."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from pipeline.settings import HttpSettings, StoreSettings
from pipeline.sinks.batches import Batch, Sample
from pipeline.sinks.held import Held
from pipeline.sinks.publish import PublishReport
from pipeline.sinks.published_series import Key
from pipeline.sinks.stores import Store
from pipeline.window import HOUR, Clock, Window, floor_hour
from tests.sinks.servers import RealStore, real_prometheus, real_victoria


def workload(metric: str, namespace: str, cluster: str = "prod") -> Key:
    labels = {"cluster": cluster, "component": "package", "kind": "workload", "namespace": namespace}
    return metric, tuple(sorted((labels | {"workload": "w", "workload_kind": "Deployment"}).items()))


def hour_samples(number: int, namespaces: Sequence[str] = ("shop", "blog"), cluster: str = "prod") -> dict[Key, float]:
    samples = {}
    for index, namespace in enumerate(namespaces):
        grams = 1.1 * (number + 1) + index / 3
        samples[workload("carbon_emissions_grams", namespace, cluster)] = grams
        samples[workload("carbon_energy_joules", namespace, cluster)] = 9_000.7 * grams
    samples[("carbon_quality_energy_joules", (("cluster", cluster), ("intensity_quality", "measured")))] = (
        9_000.7 * number
    )
    samples[("carbon_pue_ratio", (("cluster", cluster),))] = 1.25
    return samples


def last_hours(clock: Clock, count: int, before_hours: int = 1) -> list[datetime]:
    end = floor_hour(clock.now()) - before_hours * HOUR
    return [end - (count - n) * HOUR for n in range(count)]


class Watched(Store):
    """A real store that counts what it is sent, and calls `after_send` between an answer and whatever comes next."""

    def __init__(self, *args: object, after_send: Callable[[], None] | None = None) -> None:
        super().__init__(*args)  # type: ignore[arg-type] # passed on as they came
        self.requests: list[list[Sample]] = []
        self.reads = 0
        self.after_send = after_send

    def held(self, cluster: str, window: Window) -> Held:
        self.reads += 1
        return super().held(cluster, window)

    def send(self, batch: Batch) -> None:
        super().send(batch)
        self.requests.append(list(batch.samples()))
        if self.after_send is not None:
            self.after_send()

    def write(self, samples: Iterable[Sample]) -> None:
        """Samples by hand, in one request."""
        self.send(Batch.of_samples(samples))


def store_of(
    url: str,
    clock: Clock,
    retry_seconds: float = 0.0,
    horizon: timedelta | None = None,
    after_send: Callable[[], None] | None = None,
    query_url: str | None = None,
) -> Watched:
    settings = StoreSettings(url=f"{url}/api/v1/write", query_url=query_url or url)
    http = HttpSettings(retry_seconds=retry_seconds, timeout_seconds=10)
    return Watched(settings, http, {}, clock, horizon, after_send=after_send)


def kinds(report: PublishReport) -> list[tuple[str, str | None]]:
    return [(hour.state, hour.cause) for hour in report.hours]


@contextmanager
def server_of(kind: str, folder: Path) -> Iterator[RealStore]:
    with (real_prometheus if kind == "prometheus" else real_victoria)(folder / kind) as server:
        yield server
