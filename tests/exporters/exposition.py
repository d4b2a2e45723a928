"""Reads the text that exporters expose, and hands it out again as the transport a meter reads from."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.samples import Block
from pipeline.sources.prometheus.selectors import Matcher, parse_matchers

LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+(\d+))?")
LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"\s*(?:,|$)')
UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Exposed:
    """One sample of a body."""

    metric: str
    labels: Labels
    value: float


def parse(body: str) -> list[Exposed]:
    """All samples, in their order; blank lines and comments count for nothing.

    Raises:
        ValueError: a line that is neither.
    """
    samples = []
    for line in body.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        found = LINE.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"not a sample: {line!r}")
        samples.append(Exposed(found[1], _labels(found[2] or ""), float(found[3])))
    return samples


def _labels(text: str) -> Labels:
    labels, position = {}, 0
    while position < len(text):
        found = LABEL.match(text, position)
        if found is None:
            raise ValueError(f"not labels: {text!r}")
        labels[found[1]] = re.sub(r'\\[\\"n]', lambda escape: UNESCAPED[escape[0]], found[2])
        position = found.end()
    return labels


class Scraped:
    """Implements `samples.Transport`: bodies as a server would hold them after scraping each at its stamp.

    Args:
        bodies: text by stamp in milliseconds.
        target: labels that the server adds; an exposed label of the same name becomes `exported_`, as by default.
    """

    def __init__(self, bodies: dict[int, str], target: Labels) -> None:
        self._series: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
        for stamp_ms in sorted(bodies):
            for sample in parse(bodies[stamp_ms]):
                labels = {f"exported_{k}" if k in target else k: v for k, v in sample.labels.items() if v}
                key = tuple(sorted((labels | target | {"__name__": sample.metric}).items()))
                self._series.setdefault(key, []).append((stamp_ms, sample.value))

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """Samples of all matching series with `start_ms <= stamp <= end_ms`."""
        metric, _, conditions = selector.partition("{")
        matchers = [Matcher("__name__", "=", metric), *parse_matchers(f"{{{conditions or '}'}")]
        rows, parts = [], []
        for key, samples in self._series.items():
            labels = dict(key)
            inside = [sample for sample in samples if start_ms <= sample[0] <= end_ms]
            if inside and all(_accepts(one, labels.get(one.name, "")) for one in matchers):
                rows.append(labels)
                parts.append(inside)
        if not rows:
            return
        names = sorted({name for row in rows for name in row})
        yield Block(
            labels=pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}),
            offsets=np.cumsum([0, *(len(part) for part in parts)]),
            stamps_ms=np.array([stamp for part in parts for stamp, _ in part], dtype=np.int64),
            values=np.array([value for part in parts for _, value in part], dtype=np.float64),
        )


def _accepts(matcher: Matcher, value: str) -> bool:
    """As in PromQL: an absent label is empty, a regex matches the whole value."""
    if matcher.operator in ("=", "!="):
        return (value == matcher.value) == (matcher.operator == "=")
    return (re.fullmatch(matcher.value, value) is not None) == (matcher.operator == "=~")
