"""Blocks keep what `samples.Block` promises, however a store gives its samples."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.samples import Block
from pipeline.sources.prometheus.raw_blocks import MALFORMED, label_columns, milliseconds, numbers, rising
from tests.sources.series import rows

Series = list[tuple[int, float]]


def block(series: list[Series]) -> Block:
    offsets = np.concatenate(([0], np.cumsum([len(one) for one in series]))).astype(np.int64)
    samples = [sample for one in series for sample in one]
    stamps = np.array([stamp for stamp, _ in samples], dtype=np.int64)
    values = np.array([value for _, value in samples], dtype=np.float64)
    names = pa.array([str(number) for number in range(len(series))], pa.string())
    return Block(pa.table({"n": names}), offsets, stamps, values)


def oracle(series: Series) -> Series:
    """One value a stamp, in order: the greatest, a number before NaN."""
    found: dict[int, float] = {}
    for stamp, value in series:
        old = found.get(stamp, math.nan)
        found[stamp] = value if math.isnan(old) or value > old else old
    return sorted(found.items())


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 1.0, 2.5, math.inf, math.nan])), max_size=8))
)
@settings(deadline=None)
def test_stamps_rise_and_of_several_values_the_greatest_stays(series: list[Series]) -> None:
    told: list[str] = []
    (ordered,) = rising([block(series)], "m{}", told.append)
    found = [samples for _, samples in rows(ordered)]
    assert str(found) == str([oracle(one) for one in series])
    differ = sum(len({str(v) for s, v in one if s == stamp}) > 1 for one in series for stamp in {s for s, _ in one})
    assert bool(told) == bool(differ)


def test_equal_samples_are_one_and_nobody_is_told() -> None:
    (ordered,) = rising([block([[(1, 2.0), (1, 2.0), (2, 3.0)]])], "m{}", pytest.fail)
    assert [samples for _, samples in rows(ordered)] == [[(1, 2.0), (2, 3.0)]]


def test_a_block_that_is_in_order_is_handed_on_as_it_is() -> None:
    good = block([[(1, 2.0), (3, 1.0)], [], [(1, 5.0)]])
    assert next(rising([good], "m{}", pytest.fail)) is good


@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan, 1e300])
def test_what_no_time_can_be_is_no_stamp(seconds: float) -> None:
    with pytest.raises(ValueError, match="no time"):
        milliseconds(np.array([1.0, seconds]))


@given(st.lists(st.integers(0, 4_102_444_800_000), min_size=1))
@settings(deadline=None)
def test_every_millisecond_survives_being_written_as_seconds(stamps: list[int]) -> None:
    assert milliseconds(np.array([float(f"{ms // 1000}.{ms % 1000:03d}") for ms in stamps])).tolist() == stamps


@given(st.lists(st.floats(), min_size=1))
@settings(deadline=None)
def test_numbers_are_the_floats_that_python_reads(values: list[float]) -> None:
    texts = [repr(value) for value in values]
    text = np.frombuffer(";".join(texts).encode(), dtype=np.uint8)
    ends = np.cumsum([len(one) + 1 for one in texts]) - 1
    edges = np.stack((np.concatenate(([0], ends[:-1] + 1)), ends), axis=1).ravel()
    assert [float(one).hex() for one in numbers(text, edges)] == [float(one).hex() for one in texts]


def test_a_stretch_that_is_no_number_is_an_error() -> None:
    with pytest.raises(MALFORMED):
        numbers(np.frombuffer(b"1;x", dtype=np.uint8), np.array([0, 1, 2, 3]))


def test_labels_are_columns_whatever_series_lack_and_in_whatever_order() -> None:
    assert label_columns([{"__name__": "m", "a": "1"}, {"__name__": "m", "a": "2"}]).to_pydict() == {"a": ["1", "2"]}
    mixed = label_columns([{"b": "1", "a": "2"}, {"a": "3"}, {}]).to_pydict()
    assert mixed == {"a": ["2", "3", None], "b": ["1", None, None]}
    assert label_columns([{}, {}]).num_rows == 2
    with pytest.raises(MALFORMED):
        label_columns([{"a": 7}])
