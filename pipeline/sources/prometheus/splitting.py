"""As much at once as a server gives: a span is cut where a limit is hit, and then its series are shared out.

Every sample lies in exactly one part, parts of a series come in the order of time, and what has been given is not given
again. So nothing that reads blocks can tell how a span was cut.
"""

import math
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from pipeline.errors import SourceError, SourceRejected, SourceUnavailable
from pipeline.samples import Block, Int64s
from pipeline.sources.prometheus.limits import SERIES, TIME, TooMuchError, limit_of
from pipeline.sources.prometheus.raw_blocks import kept
from pipeline.sources.prometheus.selectors import Matcher
from pipeline.units import MS_PER_MINUTE

LEAST_MS = 5 * MS_PER_MINUTE  # shorter spans are not cut
ASKED_FROM_MS = 120 * MS_PER_MINUTE  # a refusal of less costs no more than asking how much it is
NEVER = 0.0  # is a series' selector asked for as it is
LAST = string.digits + string.ascii_letters
LABELS = ("pod_id", "container_id", "pod", "node_name", "instance")
# halves of all series: by each bit of the number of a label's last character, then of the one before
HALVES = tuple(
    (label, f"(?s:.*)[{''.join(character for place, character in enumerate(LAST) if not place >> bit & 1)}]{rest}")
    for label in LABELS
    for rest in ("", ".")
    for bit in range(4)
)

Ask = Callable[[str, int, int], Iterator[Block]]
Key = frozenset[tuple[str, str]]
NOTHING_GIVEN: Mapping[Key, int] = MappingProxyType({})
T = TypeVar("T")


class Part(NamedTuple):
    """A piece of what was asked for.

    Attributes:
        selector: of its series.
        start_ms: first stamp.
        end_ms: last stamp.
        halved: how often its series have been shared out.
        given: the stamp to which each series has been given, of those that have.
    """

    selector: str
    start_ms: int
    end_ms: int
    halved: int = 0
    given: Mapping[Key, int] = NOTHING_GIVEN

    @property
    def size_ms(self) -> int:
        """How many stamps it may have."""
        return self.end_ms - self.start_ms + 1

    def cut(self, most_ms: float) -> "list[Part]":
        """In time: equal pieces that are no longer than that."""
        count = min(max(math.ceil(self.size_ms / most_ms), 1), self.size_ms)
        edges = [self.start_ms + self.size_ms * number // count for number in range(count + 1)]
        return [self._replace(start_ms=first, end_ms=stop - 1) for first, stop in pairwise(edges)]

    def halves(self) -> "list[Part]":
        """Its series in two parts, whatever they are."""
        label, ending = HALVES[self.halved]
        stem = self.selector.removesuffix("}")
        comma = "" if stem.endswith("{") else ","
        return [
            self._replace(selector=f"{stem}{comma}{Matcher(label, operator, ending)}}}", halved=self.halved + 1)
            for operator in ("=~", "!~")
        ]


class Splitting:
    """How much a server gives at once, as far as it is known by now.

    Args:
        url: of the server, for messages.
        most_samples: that are asked for at once.
        per_minute: about how many samples the series of a selector have a minute, None where nobody can tell; asked
            once for a selector, before a long span of it.
    """

    def __init__(
        self, url: str, most_samples: int, per_minute: Callable[[str, int, int], float | None] | None = None
    ) -> None:
        self._url, self._most_samples, self._per_minute = url, most_samples, per_minute
        self._most_ms: dict[str, float] = {}

    def blocks(self, ask: Ask, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """The blocks of `ask(selector, start_ms, end_ms)`, asked for in as many parts as the server wants.

        Raises:
            SourceError: any other failure, or a limit that is less than the smallest part.
        """
        if end_ms - start_ms > ASKED_FROM_MS and selector not in self._most_ms and self._per_minute is not None:
            self._learn(selector, self._per_minute(selector, start_ms, end_ms) or 0.0, MS_PER_MINUTE)
        todo = [Part(selector, start_ms, end_ms)]
        while todo:
            part = todo.pop()
            smaller = self._known(part)
            if len(smaller) > 1:
                todo += smaller[::-1]
                continue
            given: list[tuple[pa.Table, Int64s]] = []
            samples = 0
            try:
                for block in ask(part.selector, part.start_ms, part.end_ms):
                    fresh = _beyond(block, part.given)
                    samples += len(fresh.values)
                    yield fresh
                    given.append((fresh.labels, fresh.stamps_ms[fresh.offsets[1:] - 1]))
            except SourceError as error:
                self._understand(part, selector, error)
                todo.append(part._replace(given={**part.given, **_last(given)}))
            else:
                self._learn(part.selector, samples, part.size_ms)

    def _known(self, part: Part) -> list[Part]:
        """What to ask for in place of a part by what is known now: the part itself if nothing speaks against it."""
        most_ms = self._most_ms.get(part.selector, math.inf)
        return part.halves() if most_ms == NEVER else part.cut(most_ms)

    def _learn(self, selector: str, samples: float, within_ms: int) -> None:
        """A span that holds no more than is asked for at once, if samples lie everywhere as there."""
        if samples > 0:
            most_ms = max(self._most_samples * within_ms / samples, LEAST_MS)
            self._most_ms[selector] = min(most_ms, self._most_ms.get(selector, math.inf))

    def _understand(self, part: Part, selector: str, error: SourceError) -> None:
        """Note that a part was too much.

        Raises:
            SourceError: it failed for another reason, or there is no smaller one.
        """
        limit = limit_of(error)
        if limit is None:
            raise error
        can_share = part.halved < len(HALVES)
        if part.size_ms > LEAST_MS and not (limit.of == SERIES and can_share):
            self._most_ms[part.selector] = max(math.ceil(part.size_ms / 2), LEAST_MS)
        elif limit.of == TIME:
            raise error
        elif can_share:
            self._most_ms[part.selector] = NEVER
        else:
            setting = f": raise {limit.setting}" if limit.setting else ""
            raise SourceRejected(
                f"{self._url} does not give {part.size_ms / MS_PER_MINUTE:.3g} minutes of {selector}, not even of some "
                f"of its series: {limit.said}{setting}"
            ) from error


def in_parts(ask: Callable[[], T], size_ms: int) -> T:
    """What `ask` gives; a limit of time is one, unless the span is too short to be cut: then it may do next time.

    Raises:
        TooMuchError: the span is to be cut.
        SourceUnavailable: it may be asked again.
    """
    try:
        return ask()
    except (TooMuchError, SourceUnavailable) as error:
        limit = limit_of(error)
        if limit is None:
            raise
        if size_ms > LEAST_MS:
            raise TooMuchError(str(error), limit) from error
        if limit.of == TIME and isinstance(error.__cause__, SourceUnavailable):
            raise error.__cause__ from None
        raise


def _keys(labels: pa.Table) -> list[Key]:
    """Each series as one value."""
    return [frozenset((name, value) for name, value in row.items() if value is not None) for row in labels.to_pylist()]


def _last(given: Iterable[tuple[pa.Table, Int64s]]) -> dict[Key, int]:
    """The last stamp of each series; one may have come in several blocks, each part later than the one before."""
    return {
        key: stamp for table, stamps_ms in given for key, stamp in zip(_keys(table), stamps_ms.tolist(), strict=True)
    }


def _beyond(block: Block, given: Mapping[Key, int]) -> Block:
    """What of a block has not been given."""
    if not given:
        return block
    last_ms = np.array([given.get(key, -1) for key in _keys(block.labels)], dtype=np.int64)
    return kept(block, block.stamps_ms > np.repeat(last_ms, np.diff(block.offsets)))
