"""Every decoder against a slow encoder: every class of distance, every pattern of bits, many chunks at once."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.prometheus import xor_chunks
from pipeline.sources.prometheus.kernels import NUMPY, Kernels
from tests.examples import examples
from tests.sources.prometheus.chunk_writer import WORD, Sample, bits_of, xor_chunk
from tests.sources.prometheus.every_kernels import EVERY

STALE = 0x7FF0000000000002
FLOATS = [0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308, 262_143.328850, 0.1 + 0.2]
EDGES = [sign * (1 << power) + off for sign in (1, -1) for power in (0, 13, 16, 19, 40) for off in (-1, 0, 1)]

PATTERNS = st.one_of(
    st.integers(0, WORD - 1), st.sampled_from([STALE, *map(bits_of, FLOATS)]), st.floats(width=64).map(bits_of),
    st.integers(0, 100_000_000).map(lambda micro: bits_of(micro / 1e6)),
)  # fmt: skip
CHANGES = st.one_of(st.just(0), st.integers(-3, 3), st.sampled_from(EDGES), st.integers(-(1 << 34), 1 << 34))


@st.composite
def chunks(draw: st.DrawFn) -> list[Sample]:
    stamp, distance = draw(st.integers(-(1 << 41), 1 << 42)), draw(st.integers(0, 1 << 35))
    values = draw(st.lists(PATTERNS, max_size=40))
    if draw(st.booleans()):
        values = [value for value in values for _ in range(draw(st.integers(1, 4)))]
    samples = []
    for value in values:
        samples.append((stamp, value))
        stamp += distance
        distance += draw(CHANGES)
    return samples


pytestmark = pytest.mark.parametrize("kernels", EVERY)


def decoded(parts: list[bytes], kernels: Kernels) -> list[list[Sample]]:
    """What a decoder makes of chunks that lie one behind the other, with some bytes between them."""
    body, starts, ends = bytearray(b"\xff\xff\xff"), [], []
    for part in parts:
        starts.append(len(body))
        body += part
        ends.append(len(body))
        body += b"\xff"
    found = kernels.decode(np.frombuffer(bytes(body), np.uint8), np.array(starts, np.int64), np.array(ends, np.int64))
    assert (found.offsets.dtype, found.stamps_ms.dtype, found.bits.dtype) == ("int64", "int64", "uint64")
    pairs = list(zip(found.stamps_ms.tolist(), found.bits.tolist(), strict=True))
    return [pairs[a:b] for a, b in zip(found.offsets[:-1], found.offsets[1:], strict=True)]


@settings(deadline=None, max_examples=examples(60))
@given(wanted=st.lists(chunks(), min_size=1, max_size=8))
def test_every_chunk_decodes_to_what_was_encoded_bit_for_bit(kernels: Kernels, wanted: list[list[Sample]]) -> None:
    assert decoded([xor_chunk(samples) for samples in wanted], kernels) == wanted


def made(rng: np.random.Generator, count: int) -> list[Sample]:
    kinds = rng.integers(0, 4, count)
    steps = np.where(rng.random(count) < 0.9, 30_000, 30_000 + rng.integers(-5, 60_000, count))
    stamps = 1_793_520_000_000 + np.cumsum(steps)
    values = np.cumsum(rng.uniform(0, 900, count)).round(6).view(np.uint64)
    values = np.where(kinds == 0, values, np.where(kinds == 1, np.roll(values, 1), values))
    values[rng.random(count) < 0.01] = STALE
    return list(zip(stamps.tolist(), values.tolist(), strict=True))


@pytest.mark.parametrize(("laid", "cells"), [(128, 1 << 20), (7, 1 << 16), (500, 900), (1, 1)])
def test_lanes_of_very_different_lengths_decode_alike_however_they_are_cut(
    laid: int, cells: int, kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xor_chunks, "CHUNKS_LAID", laid)
    monkeypatch.setattr(xor_chunks, "MOST_CELLS", cells)
    rng = np.random.default_rng(3)
    wanted = [made(rng, int(count)) for count in [*rng.integers(0, 240, 60), 0, 1, 2, 3, 1_000]]
    assert decoded([xor_chunk(samples) for samples in wanted], kernels) == wanted


def test_a_constant_counter_of_the_greatest_count_decodes(kernels: Kernels) -> None:
    wanted = [(i * 15_000, bits_of(1.5)) for i in range(65_535)]
    assert decoded([xor_chunk(wanted)], kernels) == [wanted]


def test_no_chunk_at_all_is_no_sample(kernels: Kernels) -> None:
    assert decoded([], kernels) == []


WHOLE = xor_chunk([(1_793_520_000_000 + 30_000 * i, bits_of(i * 12.345678)) for i in range(100)])


@pytest.mark.parametrize("kept", [0, 1, 2, 5, 12, 17, 60, len(WHOLE) // 2, len(WHOLE) - 2])
def test_a_chunk_that_is_cut_is_broken_and_says_so(kept: int, kernels: Kernels) -> None:
    with pytest.raises(ValueError, match=r"chunk|number"):
        decoded([WHOLE[:kept]], kernels)


def test_a_count_beyond_its_bits_is_broken_before_memory_is_taken(kernels: Kernels) -> None:
    with pytest.raises(ValueError, match="counts more samples"):
        decoded([b"\xff\xff" + WHOLE[2:60]], kernels)


def test_a_value_that_would_be_wider_than_a_word_is_broken(kernels: Kernels) -> None:
    good = xor_chunk([(0, 0), (1, 1)])
    assert good[12:14] == b"\xff\x08", "11, 31 leading zeros in 5 bits, 33 bits in 6 bits"
    with pytest.raises(ValueError, match="more than 64 bits"):
        decoded([good[:12] + b"\xfe\x00" + bytes(9)], kernels)


def test_a_first_stamp_that_does_not_end_is_broken(kernels: Kernels) -> None:
    with pytest.raises(ValueError, match="more than ten bytes"):
        decoded([b"\x00\x01" + b"\xff" * 40], kernels)


def outcome(parts: list[bytes], kernels: Kernels) -> list[list[Sample]] | None:
    """What is decoded, None for an error."""
    with contextlib.suppress(ValueError):
        return decoded(parts, kernels)
    return None


@settings(deadline=None, max_examples=examples(60))
@given(data=st.data())
def test_damage_ends_in_an_error_or_in_numbers_never_in_anything_else_and_for_all_alike(
    kernels: Kernels, data: st.DataObject
) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(WHOLE) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.sampled_from([len(WHOLE), *range(30)]))]
    found = outcome([WHOLE, bytes(damaged), WHOLE], kernels)
    assert found == outcome([WHOLE, bytes(damaged), WHOLE], NUMPY)
    assert found is None or found[::2] == decoded([WHOLE], kernels) * 2


@settings(deadline=None, max_examples=examples(100))
@given(count=st.integers(0, 300), noise=st.binary(max_size=120))
def test_noise_in_place_of_a_chunk_has_one_outcome(kernels: Kernels, count: int, noise: bytes) -> None:
    chunk = count.to_bytes(2) + noise
    assert outcome([chunk], kernels) == outcome([chunk], NUMPY)


def test_a_chunk_beyond_the_body_is_broken(kernels: Kernels) -> None:
    body = np.frombuffer(WHOLE, np.uint8)
    with pytest.raises(ValueError, match="chunk"):
        kernels.decode(body, np.array([0]), np.array([len(WHOLE) + 1]))
