"""The answer of a streamed remote read: frames as they come, blocks as soon as their series are whole."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import pyarrow as pa

from pipeline.samples import Block, Int64s
from pipeline.sources.prometheus.chunk_blocks import decode_series
from pipeline.sources.prometheus.chunked_series import NAME, Parts, label_table, read_parts, without
from pipeline.sources.prometheus.external_labels import Query
from pipeline.sources.prometheus.frames import DamagedError, read_frames
from pipeline.sources.prometheus.xor_chunks import Decoder

DIGEST_BYTES = 16

Labels = dict[str, str | None]


@dataclass
class Given:
    """What came of a request so far, whichever attempt brought it.

    Attributes:
        series: digests of those that are through.
        foreign: labels of those with chunks that are no float XOR.
        contradictory: labels of those with two values at one stamp.
    """

    series: set[bytes] = field(default_factory=set)
    foreign: list[Labels] = field(default_factory=list)
    contradictory: list[Labels] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ChunkStream:
    """How an answer is read.

    Attributes:
        start_ms: first stamp.
        end_ms: last stamp.
        queries: those asked, and what the server added to the series of each.
        decoder: of chunks.
    """

    start_ms: int
    end_ms: int
    queries: Sequence[Query]
    decoder: Decoder

    def blocks(self, batches: Iterable[bytes], given: Given) -> Iterator[Block]:
        """Blocks of the series that were not given before; what is to be read in another way goes into `given`.

        An answer may be cut into batches anywhere. What is in one of them is decoded together.

        Raises:
            DamagedError: an answer that is cut off or changed on its way.
            ValueError: not what the format allows.
        """
        before, rest = given.series.copy(), b""
        for batch in batches:
            rest = yield from self._part(rest + batch, before, given, whole=False)
        yield from self._part(rest, before, given, whole=True)

    def _part(self, content: bytes, before: set[bytes], given: Given, *, whole: bool) -> Generator[Block, None, bytes]:
        """The series that end in `content`; what is left of it belongs to the next."""
        frames = read_frames(content)
        end = int(frames.ends[-1]) if len(frames.ends) else 0
        if whole and end < len(content):
            raise DamagedError("an answer that ends within a frame")
        parts = read_parts(frames)
        keys = parts.keys()
        held = len(frames.heads) if whole else _first_unsure(parts, keys, len(frames.heads))
        parts = parts.within(held)
        if len(parts.starts):
            yield from self._series(parts, keys[: len(parts.starts)], before, given)
        return content[frames.heads[held] :] if held < len(frames.heads) else content[end:]

    def _series(self, parts: Parts, keys: list[bytes], before: set[bytes], given: Given) -> Iterator[Block]:
        firsts = np.array([0] + [i for i, (a, b) in enumerate(pairwise(keys), 1) if a != b], dtype=np.int64)
        digests = [blake2b(keys[first], digest_size=DIGEST_BYTES).digest() for first in firsts.tolist()]
        fresh = [digest for digest in digests if digest not in before]
        if len(set(digests)) < len(digests) or not given.series.isdisjoint(fresh):
            raise ValueError("one series in two places")
        found = decode_series(parts, firsts, self.start_ms, self.end_ms, self.decoder)
        if len(fresh) < len(digests):
            found = found.without(firsts[[digest in before for digest in digests]])
        if len(found.parts):
            yield Block(self._labels(parts, found.parts).drop_columns([NAME]), *found.samples)
        given.foreign += self._labels(parts, found.foreign).to_pylist()
        given.contradictory += self._labels(parts, found.contradictory).to_pylist()
        given.series.update(digests)

    def _labels(self, parts: Parts, rows: Int64s) -> pa.Table:
        """What a query would show of them, and `__name__`."""
        labels = label_table(parts, rows)
        for number, query in enumerate(self.queries):
            labels = without(labels, query.added, parts.query[rows] == number)
        return labels


def _first_unsure(parts: Parts, keys: list[bytes], frames: int) -> int:
    """The frame from which on a series may go on in frames to come."""
    held = max(frames - 1, 0)
    while held > 0:
        at = int(np.searchsorted(parts.frame, held))
        if not 0 < at < len(keys) or keys[at] != keys[at - 1]:
            break
        held = int(parts.frame[at - 1])
    return held
