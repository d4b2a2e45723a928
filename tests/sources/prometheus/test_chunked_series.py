"""Chunks in their messages: what is read of them at a glance is what a walk over their fields finds."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.prometheus import chunked_series
from pipeline.sources.prometheus.chunked_series import Parts, read_chunks, read_parts
from pipeline.sources.prometheus.frames import Frames
from tests.sources.prometheus.chunk_writer import HISTOGRAM, XOR, XOR2, field, number, response, series

NOW_MS = 1_793_520_000_000
STAMPS_MS = st.one_of(st.integers(NOW_MS, NOW_MS + 10**9), st.sampled_from([0, 1, -1, (1 << 35) - 1, 1 << 35, 1 << 42]))
USUAL_STAMPS_MS = st.integers(1 << 35, (1 << 42) - 1)
KINDS = st.sampled_from([XOR, XOR, XOR, HISTOGRAM, XOR2])
Outcome = tuple[list[int], list[int], list[bool]] | None


def message(first_ms: int, last_ms: int, kind: int, data: bytes) -> bytes:
    return number(1, first_ms) + number(2, last_ms) + number(3, kind) + field(4, data)


def parts_of(chunks: list[bytes], changes: list[tuple[int, int]]) -> Parts:
    """One series of chunks, some bytes of the last of which are changed."""
    body = bytearray(response([series({"pod": "a"}, chunks)]))
    for place, byte in changes:
        body[len(body) - 1 - place % max(len(chunks[-1]), 1)] = byte
    ends = np.array([len(body)])
    return read_parts(Frames(np.frombuffer(bytes(body), np.uint8), ends * 0, ends * 0, ends))


def outcome(parts: Parts) -> Outcome:
    with contextlib.suppress(ValueError):
        found = read_chunks(parts)
        xor = found.is_xor
        return found.starts[xor].tolist(), found.ends[xor].tolist(), xor.tolist()
    return None


def walked(parts: Parts) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked_series, "_usual", lambda _parts: None)
        return outcome(parts)


@settings(deadline=None, max_examples=300)
@given(
    chunks=st.lists(
        st.builds(message, STAMPS_MS, STAMPS_MS, KINDS, st.binary(max_size=300)),
        min_size=1, max_size=4,
    ),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=2),
)  # fmt: skip
def test_chunks_of_any_kind_and_time_and_damaged_ones_are_read_as_a_walk_reads_them(
    chunks: list[bytes], changes: list[tuple[int, int]]
) -> None:
    with contextlib.suppress(ValueError):
        parts = parts_of(chunks, changes)
        assert outcome(parts) == walked(parts)


@settings(deadline=None)
@given(st.lists(st.builds(message, USUAL_STAMPS_MS, USUAL_STAMPS_MS, st.just(XOR), st.binary(min_size=1)), min_size=1))
def test_float_chunks_of_this_century_need_no_walk(chunks: list[bytes]) -> None:
    parts = parts_of(chunks, [])
    found = chunked_series._usual(parts)
    assert found is not None
    assert (found.starts.tolist(), found.ends.tolist(), found.is_xor.tolist()) == walked(parts)
