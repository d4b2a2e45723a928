"""The answer of a streamed remote read: frames as they come, blocks as soon as their series are whole."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
import pyarrow as pa

from pipeline.samples import Block, Int64s
from pipeline.sources.prometheus.chunk_blocks import Decoded, decode_series
from pipeline.sources.prometheus.chunked_series import NAME, Parts, label_table, read_chunks, read_parts, without
from pipeline.sources.prometheus.external_labels import Query
from pipeline.sources.prometheus.frames import DamagedError, read_frames
from pipeline.sources.prometheus.kernels import Kernels

APART_MS = (1 << 63) - 1

Labels = dict[str, str | None]
ByQuery = dict[int, list[Labels]]


@dataclass
class Given:
    """What came of a request so far, whichever attempt brought it.

    Attributes:
        last_ms: last stamp that was given, by the digest of its series; `APART_MS` for one of those below.
        foreign: labels of series with chunks that are no float XOR, by the number of their query.
        contradictory: labels of those with two values at one stamp.
    """

    last_ms: dict[int, int] = field(default_factory=dict)
    foreign: ByQuery = field(default_factory=dict)
    contradictory: ByQuery = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer(Block):
    """Series of one query, by its number."""

    query: int


@dataclass(frozen=True, slots=True)
class ChunkStream:
    """How an answer is read.

    Attributes:
        start_ms: first stamp.
        end_ms: last stamp.
        queries: those asked, and what the server added to the series of each.
        kernels: what does the work.
    """

    start_ms: int
    end_ms: int
    queries: Sequence[Query]
    kernels: Kernels

    def blocks(self, batches: Iterable[bytes], given: Given) -> Iterator[Answer]:
        """Blocks of what was not given before; what is to be read in another way goes into `given`.

        An answer may be cut into batches anywhere. What is in one of them is decoded together. A series that comes
        back, as stores in shards may send it, goes on where it was, or is put in order within a batch.

        Raises:
            DamagedError: an answer that is cut off or changed on its way.
            ValueError: not what the format allows, or a series that comes back with samples before those given.
        """
        seen, rest = dict[int, int](), b""
        for batch in batches:
            rest = yield from self._part(rest + batch, seen, given, whole=False)
        yield from self._part(rest, seen, given, whole=True)

    def _part(
        self, content: bytes, seen: dict[int, int], given: Given, *, whole: bool
    ) -> Generator[Answer, None, bytes]:
        """The series that end in `content`; what is left of it belongs to the next."""
        frames = read_frames(content, self.kernels.cut, self.kernels.lay)
        end = int(frames.ends[-1]) if len(frames.ends) else 0
        if whole and end < len(content):
            raise DamagedError("an answer that ends within a frame")
        parts = read_parts(frames, self.kernels.fields)
        keys = parts.keys()
        held = len(frames.heads) if whole else _first_unsure(parts, keys, len(frames.heads))
        parts = parts.within(held)
        if len(parts.starts):
            yield from self._series(parts, keys[: len(parts.starts)], seen, given)
        return content[frames.heads[held] :] if held < len(frames.heads) else content[end:]

    def _series(self, parts: Parts, keys: list[bytes], seen: dict[int, int], given: Given) -> Iterator[Answer]:
        distinct = dict.fromkeys(keys)
        series = firsts = np.arange(len(keys))
        if len(distinct) < len(keys):
            numbers = {key: number for number, key in enumerate(distinct)}
            series = np.array([numbers[key] for key in keys], dtype=np.int64)
            firsts = np.unique(series, return_index=True)[1]
        digests = [hash(key) << 32 | crc32(key) for key in distinct]  # 96 bits, and no third of the time of a real one
        found = decode_series(
            read_chunks(parts, self.kernels.fields), series[parts.chunks.owner], len(firsts),
            (self.start_ms, self.end_ms), self.kernels.decode, self.kernels.keep,
        )  # fmt: skip
        found = _new(found, digests, seen, given)
        for query, own, labels in self._by_query(parts, firsts[found.series]):
            yield Answer(labels.drop_columns([NAME]), *found.samples(own), query)
        for rows, apart in ((found.foreign, given.foreign), (found.contradictory, given.contradictory)):
            for query, _, labels in self._by_query(parts, firsts[rows]):
                apart.setdefault(query, []).extend(labels.to_pylist())

    def _by_query(self, parts: Parts, rows: Int64s) -> Iterator[tuple[int, slice, pa.Table]]:
        """Neighbouring rows of one query: its number, which they are, what the query would show and `__name__`."""
        query = parts.query[rows]
        if np.any(query.view(np.uint64) >= len(self.queries)):
            raise ValueError("an answer to a query that was not asked")
        for own in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(query)) + 1):
            if len(own):
                number = int(query[own[0]])
                labels = label_table(parts, rows[own], self.kernels.fields)
                yield number, slice(own[0], own[-1] + 1), without(labels, self.queries[number].added)


def _new(found: Decoded, digests: list[int], seen: dict[int, int], given: Given) -> Decoded:
    """What has not been given of series; from now on it has.

    Args:
        found: as it came.
        digests: of the series.
        seen: last stamps of this answer.
        given: what came of it and of earlier ones.

    Raises:
        ValueError: a series that was here before in the same answer, and comes back with samples that are not later.
    """
    own = [digests[index] for index in found.series.tolist()]
    first_ms = found.stamps_ms[found.offsets[:-1]].tolist()
    if not seen.keys().isdisjoint(own) and any(map(int.__le__, first_ms, (seen.get(one, -APART_MS) for one in own))):
        raise ValueError("one series in two places")
    last_ms = found.last_ms
    seen.update(zip(own, last_ms, strict=True))
    if not given.last_ms.keys().isdisjoint(own):
        found = found.after(np.array([given.last_ms.get(one, -APART_MS) for one in own], dtype=np.int64))
        own, last_ms = [digests[index] for index in found.series.tolist()], found.last_ms
    given.last_ms.update(zip(own, last_ms, strict=True))
    apart = []
    for rows in (found.foreign, found.contradictory):
        held = [given.last_ms.get(digests[index]) for index in rows.tolist()]
        if any(ms not in (None, APART_MS) for ms in held):
            raise ValueError("one series in two places, and chunks that are no float XOR")
        given.last_ms.update((digests[index], APART_MS) for index in rows.tolist())
        apart.append(rows[[ms is None for ms in held]])
    return found._replace(foreign=apart[0], contradictory=apart[1])


def _first_unsure(parts: Parts, keys: list[bytes], frames: int) -> int:
    """The frame from which on a series may go on in frames to come."""
    held = max(frames - 1, 0)
    while held > 0:
        at = int(np.searchsorted(parts.frame, held))
        if not 0 < at < len(keys) or keys[at] != keys[at - 1]:
            break
        held = int(parts.frame[at - 1])
    return held
