"""A server that merges replicas, read as if each had been scraped in the order in which its samples are shown."""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from pipeline.samples import Block
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.selectors import selector as written
from pipeline.sources.prometheus.skews import Merged, Skew, without
from pipeline.window import Clock

COUNTER = re.compile(r"[^{]*(?:_total|energy_microjoules|energy_consumption)\{", re.IGNORECASE)


class MergingServer(BulkServer):
    """A `BulkServer` without the scrapes that were older than those before them.

    Told by the counters of whole machines, which rise without pause: a fall of one of them, made up for by the next
    scrape, is of all series of that target. A counter whose series is merged by itself, as Thanos does, tells for
    itself.

    Attributes:
        skews: such scrapes as far as anything was read.
    """

    def __init__(
        self,
        endpoint: PrometheusEndpoint,
        http: HttpSettings,
        env: Mapping[str, str],
        clock: Clock,
        on_warning: Callable[[str], None],
        telling: Iterable[str],
        max_gap_ms: int,
    ) -> None:
        """Prepare; `telling` are the counters of whole machines."""
        super().__init__(endpoint, http, env, clock, on_warning)
        self.one_by_one = True  # what is left of a selector's samples is found out of all of them
        self.skews: set[Skew] = set()
        self._telling, self._max_gap_ms = tuple(telling), max_gap_ms
        self._asked: tuple[int, int] | None = None
        self._looking = threading.Lock()

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """See `samples.Transport`."""
        with self._looking:
            if self._asked != (start_ms, end_ms):
                self._look(start_ms, end_ms)
        found = super().blocks(selector, start_ms, end_ms)
        if COUNTER.match(selector):
            found = iter(Merged.of(found).without_older(self._max_gap_ms))
        yield from without(found, self.skews)

    def _look(self, start_ms: int, end_ms: int) -> None:
        for metric in self._telling:
            found = super().blocks(written(metric, *self.matchers), start_ms, end_ms)
            # half of it, for intervals of other series beside such a scrape reach as far again
            self.skews = self.skews | Merged.of(found).skews(metric, self._max_gap_ms // 2)
        self._asked = start_ms, end_ms
