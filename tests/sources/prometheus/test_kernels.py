"""Which kernels work, and why; all of them cut frames and keep samples alike."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.prometheus import chunk_blocks
from pipeline.sources.prometheus.chunk_blocks import STALE
from pipeline.sources.prometheus.frames import DamagedError
from pipeline.sources.prometheus.kernels import NUMPY, Kernels
from tests.sources.prometheus.chunk_writer import varint
from tests.sources.prometheus.every_kernels import EVERY

every = pytest.mark.parametrize("kernels", EVERY)
TOLD = "from pipeline.sources.prometheus.kernels import chosen; print(*chosen()[:2], sep=': ')"


def told(before: str) -> str:
    """What a new process chooses."""
    done = subprocess.run([sys.executable, "-c", f"{before}\n{TOLD}"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_with_numba_the_compiled_ones_are_chosen() -> None:
    pytest.importorskip("numba")
    assert told("") == "numba: numba is installed"


def test_without_numba_numpy_works_and_the_extra_is_named() -> None:
    assert told("import sys; sys.modules['numba'] = None") == "numpy: numba is not installed: the extra fast brings it"


def test_where_nothing_can_be_kept_numpy_works_and_the_reason_is_told() -> None:
    pytest.importorskip("numba")
    chosen = told("import numba.core.caching as caching; caching.CacheImpl._locator_classes = []")
    assert chosen.startswith("numpy: numba cannot be used: cannot cache function")
    assert told("import os; os.environ['NUMBA_DISABLE_JIT'] = '1'").startswith("numpy: numba cannot be used")


def test_numba_is_not_imported_before_samples_are_asked_for() -> None:
    loaded = "import sys, pipeline.cli, pipeline.sources.prometheus.bulk; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", loaded], check=True)


def cut(content: bytes, most_bytes: int, kernels: Kernels) -> list[list[int]] | str:
    try:
        return [column.tolist() for column in kernels.cut(np.frombuffer(content, np.uint8), most_bytes)]
    except DamagedError as error:
        return str(error)[:7]


@every
@given(sizes=st.lists(st.integers(0, 300), max_size=5), left=st.integers(0, 200))
def test_frames_are_cut_where_they_were_put_together(kernels: Kernels, sizes: list[int], left: int) -> None:
    frames = [varint(size) + b"\xff" * (4 + size) for size in sizes]
    edges = np.cumsum([0, *map(len, frames)]).tolist()
    starts = [edge - size for edge, size in zip(edges[1:], sizes, strict=True)]
    whole = b"".join(frames)
    assert cut(whole, 1_000, kernels) == [edges[:-1], starts, edges[1:]]
    count = max(i for i, edge in enumerate(edges) if edge <= max(len(whole) - left, 0))
    assert cut(whole[: max(len(whole) - left, 0)], 1_000, kernels) == [
        edges[:count],
        starts[:count],
        edges[1 : count + 1],
    ]


@every
@settings(max_examples=300)
@given(content=st.binary(max_size=60), most_bytes=st.sampled_from([10, 1_000, 1 << 40]))
def test_noise_is_cut_in_one_way(kernels: Kernels, content: bytes, most_bytes: int) -> None:
    assert cut(content, most_bytes, kernels) == cut(content, most_bytes, NUMPY)


@every
@pytest.mark.parametrize("length", [b"\x0b", b"\xff" * 9 + b"\x01", b"\x80" * 9 + b"\x7f", b"\xff" * 30])
def test_a_length_above_the_limit_is_damage(length: bytes, kernels: Kernels) -> None:
    with pytest.raises(DamagedError, match="a frame of"):
        kernels.cut(np.frombuffer(length + bytes(40), np.uint8), 10)


SERIES = st.lists(st.tuples(st.integers(-5, 25), st.sampled_from([0, 1, int(STALE)])), max_size=9)


@every
@given(series=st.lists(SERIES, max_size=5), at_once=st.sampled_from([1, 3, 1 << 14]))
def test_samples_of_the_span_are_kept_and_stale_marks_are_not(
    kernels: Kernels, series: list[list[tuple[int, int]]], at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_blocks, "AT_ONCE", at_once)
        held_to_what_is_wanted(kernels, series)


def held_to_what_is_wanted(kernels: Kernels, series: list[list[tuple[int, int]]]) -> None:
    samples = [sample for own in series for sample in own]
    stamps, bits = (np.array([sample[i] for sample in samples], dtype) for i, dtype in enumerate(("i8", "u8")))
    edges = np.cumsum([0, *map(len, series)])
    found = kernels.keep(edges, stamps, bits, 0, 20)
    wanted = [[(ms, value) for ms, value in own if 0 <= ms <= 20 and value != STALE] for own in series]
    pairs = list(zip(found.stamps_ms.tolist(), found.bits.tolist(), strict=True))
    assert [pairs[a:b] for a, b in zip(found.offsets[:-1], found.offsets[1:], strict=True)] == wanted
    rising = [all(a < b for (a, _), (b, _) in pairwise(own)) for own in wanted]
    assert found.unsorted.tolist() == [i for i, is_rising in enumerate(rising) if not is_rising]
