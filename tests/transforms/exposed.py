"""Series as a Prometheus holds them: labels and (second, value) pairs, read and folded like a run does."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Self

import numpy as np

from pipeline.demo.series import METRIC, Series, block_of
from pipeline.demo.transport import parse_selector
from pipeline.meters import METERS, Reading
from pipeline.samples import Block
from pipeline.shares import Extract
from pipeline.starts import Starts
from pipeline.transforms.accounting import with_refused
from pipeline.transforms.energy import Energy, book
from pipeline.transforms.owners import Owners
from pipeline.transforms.plausibility import Ceilings
from pipeline.transforms.sheet import FoldRules
from pipeline.window import Window
from tests.transforms.made import MAX_GAP_SECONDS, NOBODY, Points, stamp_ms, window_of

GAP_MS = MAX_GAP_SECONDS * 1000
CEILINGS = Ceilings(socket_watts=2000, gpu_watts=1500)


class Exposed:
    """Implements `samples.Transport` over hand-made series."""

    def __init__(self, **labels: str) -> None:
        """Prepare; `labels` are those that every series has."""
        self.labels = labels
        self.series: list[Series] = []

    def add(self, metric: str, points: Points, **labels: str) -> Self:
        """One series; an empty label is none."""
        stamps = np.array([stamp_ms(second) for second, _ in points], dtype=np.int64)
        values = np.array([value for _, value in points], dtype=np.float64)
        told = {name: text for name, text in (self.labels | labels).items() if text}
        self.series.append(Series({METRIC: metric} | told, stamps, values))
        return self

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """As `samples.Transport`."""
        matchers = parse_selector(selector)
        for one in self.series:
            chosen = (one.stamps_ms >= start_ms) & (one.stamps_ms <= end_ms)
            if chosen.any() and all(accepts(one.labels.get(name, "")) for name, accepts in matchers):
                yield block_of([Series(one.labels, one.stamps_ms[chosen], one.values[chosen])])

    def reading(
        self,
        meter: str,
        window: Window,
        started: Mapping[str, float] | None = None,
        ceilings: Ceilings = CEILINGS,
    ) -> Reading:
        """What a meter takes from the extract around a window; `started`: second each pod started, by uid."""
        return METERS[meter].read(
            Extract(
                transport=self,
                matchers=[],
                window=window,
                max_gap_ms=GAP_MS,
                ceilings=ceilings,
                starts=Starts.always({uid: stamp_ms(second) for uid, second in (started or {}).items()}),
            )
        )

    def booked(
        self,
        meter: str,
        first: int = 0,
        hours: int = 1,
        started: Mapping[str, float] | None = None,
        owners: Owners = NOBODY,
        ceilings: Ceilings = CEILINGS,
    ) -> Energy:
        """Everything that a run books of a meter in `hours` hours from the `first` after `START`."""
        window = window_of(first, hours)
        reading = self.reading(meter, window, started, ceilings)
        booked = book(reading.folded, window, FoldRules("demo", GAP_MS, 60), [owners] * hours, None)
        return replace(
            with_refused(booked, reading.refused(window, "demo")),
            processes=reading.processes(window, "demo"),
            faults=tuple(reading.faults(window)),
        )
