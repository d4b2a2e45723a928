"""Streamed answers made by hand, and what comes of them, the same whatever does the work."""

from collections.abc import Sequence
from copy import deepcopy

from pipeline.sources.prometheus.chunk_stream import ChunkStream, Given
from pipeline.sources.prometheus.external_labels import Query
from pipeline.sources.prometheus.frames import DamagedError
from pipeline.sources.prometheus.kernels import Kernels
from tests.sources.prometheus.chunk_writer import bits_of, chunk, frame, response, series
from tests.sources.prometheus.every_kernels import EVERY
from tests.sources.series import rows

START, END = 1_793_520_000_000, 1_793_523_600_000
PLAIN = (Query((), {}),)
STALE = 0x7FF0000000000002
Points = list[tuple[int, float]]
Found = dict[tuple[tuple[str, str], ...], Points]


def points(count: int, start_ms: int = START, power: float = 1.25) -> Points:
    return [(start_ms + 30_000 * i, power * i) for i in range(count)]


def packed(samples: Points, kind: int = 1, per_chunk: int = 120) -> list[bytes]:
    """Chunks of a series."""
    exact = [(ms, bits_of(value)) for ms, value in samples]
    return [chunk(exact[i : i + per_chunk], kind) for i in range(0, len(exact), per_chunk)]


def told(labels: dict[str, str], chunks: Sequence[bytes], query: int = 0) -> bytes:
    """One frame of one part of a series."""
    return frame(response([series({"__name__": "m"} | labels, chunks)], query))


def read(
    answer: bytes | list[bytes],
    given: Given | None = None,
    queries: Sequence[Query] = PLAIN,
) -> Found:
    """What comes of an answer, which must be the same whatever does the work."""
    given = given if given is not None else Given()
    batches = [answer] if isinstance(answer, bytes) else answer
    outcomes = [_outcome(batches, deepcopy(given), queries, *kernels.values) for kernels in EVERY]
    found, after, error = outcomes[0]
    assert len({(repr(found), repr(after), type(error)) for found, after, error in outcomes}) == 1
    if error is not None:
        raise error
    given.__dict__.update(after.__dict__)
    return found


def _outcome(
    batches: list[bytes], given: Given, queries: Sequence[Query], kernels: Kernels
) -> tuple[Found, Given, Exception | None]:
    found: Found = {}
    try:
        for block in ChunkStream(START, END, queries, kernels).blocks(batches, given):
            assert all(block.labels[name].null_count < block.labels.num_rows for name in block.labels.column_names)
            for labels, samples in rows(block):
                assert samples, "a series without samples has no row"
                assert samples[0] > found.get(labels, [(-1, 0.0)])[-1]
                found.setdefault(labels, []).extend(samples)
    except (DamagedError, ValueError) as error:
        return found, given, error
    return found, given, None


def key(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


A, B, C = points(100), points(7, START + 5), points(119, START + 60_000, -3.7)
THREE = told({"a": "1"}, packed(A)) + told({"a": "2", "b": "x"}, packed(B)) + told({"a": "3"}, packed(C))
WANTED: Found = {key(a="1"): A, key(a="2", b="x"): B, key(a="3"): C}
