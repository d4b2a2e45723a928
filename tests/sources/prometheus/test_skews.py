"""Samples that a store which merges replicas shows too late: found by hand-made counters, and left out."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.samples import Block
from pipeline.sources.prometheus.skews import LAG_MS, Merged, Skew, older_samples, without

SPAN_MS = 300_000
STEADY = [(0, 1000.0), (30, 1300.0), (60, 1600.0)]  # 10 J a second


def older(points: list[tuple[float, float]], span_ms: int = SPAN_MS, lag_ms: float = math.inf) -> list[int]:
    stamps = np.array([round(second * 1000) for second, _ in points], dtype=np.int64)
    values = np.array([value for _, value in points])
    return older_samples(np.zeros(len(points), dtype=np.int64), stamps, values, span_ms, lag_ms).tolist()


def block(rows: list[dict[str, str]], *points: list[tuple[float, float]]) -> Block:
    names = sorted({name for row in rows for name in row})
    return Block(
        labels=pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}),
        offsets=np.cumsum([0, *map(len, points)]).astype(np.int64),
        stamps_ms=np.array([round(second * 1000) for part in points for second, _ in part], dtype=np.int64),
        values=np.array([value for part in points for _, value in part], dtype=np.float64),
    )


def shown(blocks: list[Block]) -> list[tuple[list[int], list[float]]]:
    return [(one.stamps_ms.tolist(), one.values.tolist()) for one in blocks]


def test_a_sample_two_seconds_older_than_the_one_before_it_is_found() -> None:
    assert older([*STEADY, (60.5, 1580.0), (90.5, 1880.0)]) == [3]


@pytest.mark.parametrize(
    "points",
    [
        [*STEADY, (90, 1900.0)],  # none falls
        [*STEADY, (60.5, 200.0), (90.5, 500.0)],  # began anew, far below
        [*STEADY, (60.5, 1290.0), (90.5, 1880.0)],  # below the sample before last: an older scrape cannot be so old
        [*STEADY, (60.5, 1580.0), (90.5, 1590.0)],  # the next does not make up for it
        [*STEADY, (60.5, 1580.0)],  # nothing follows
        [(30, 1300.0), (60, 1600.0), (60.5, 1580.0)],
        [],
    ],
)
def test_what_is_not_made_up_for_is_no_skew(points: list[tuple[float, float]]) -> None:
    assert older(points) == []


def test_a_series_that_tells_for_itself_may_fall_by_what_it_rose_in_five_seconds() -> None:
    for fallen, found in ((1550.0, [3]), (1549.9, [])):
        assert older([*STEADY, (60.5, fallen), (90.5, 1880.0)], lag_ms=LAG_MS) == found


def test_all_four_samples_lie_within_the_span() -> None:
    points = [(0, 1000.0), (100, 2000.0), (100.5, 1990.0), (300, 4000.0)]
    assert older(points, span_ms=300_000) == [2]
    assert older(points, span_ms=299_999) == []


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60_000), st.floats(0, 100)), max_size=40), st.integers(0, 10)
)
def test_whether_a_sample_is_older_is_told_by_the_span_around_it_alone(
    steps: list[tuple[int, int, float]], cut: int
) -> None:
    """Locality: what lies further away than the span changes nothing."""
    at = np.cumsum([length for _, length, _ in steps]).astype(np.int64)
    value = np.array([amount for _, _, amount in steps])
    code = np.sort(np.array([which for which, _, _ in steps], dtype=np.int64))
    found = older_samples(code, at, value, 60_000)
    for position in found.tolist():
        near = np.flatnonzero((code == code[position]) & (np.abs(at - at[position]) <= 60_000))
        again = older_samples(code[near], at[near], value[near], 60_000)
        assert position in near[again]
    whole = set(found.tolist())
    left = older_samples(code[cut:], at[cut:], value[cut:], 60_000)
    assert {position + cut for position in left.tolist()} <= whole


def test_parts_of_a_series_in_several_blocks_are_one() -> None:
    row = [{"instance": "n1:1", "node_name": "n1"}]
    points = [*STEADY, (60.5, 1580.0), (90.5, 1880.0)]
    blocks = [block(row, points[:3]), block(row, points[3:])]
    merged = Merged.of(blocks)
    assert merged.skews("m", SPAN_MS) == {Skew("m", "n1:1", "n1", 60_500)}
    assert shown(merged.without_older(SPAN_MS)) == [
        ([0, 30_000, 60_000], [1000.0, 1300.0, 1600.0]),
        ([90_500], [1880.0]),
    ]


def test_series_do_not_mix_and_a_block_without_any_is_left_as_it_came() -> None:
    one = block([{"a": "1"}, {"a": "2"}], STEADY, [(60.5, 1580.0), (90.5, 1880.0)])
    merged = Merged.of([one])
    assert merged.skews("m", SPAN_MS) == set()
    assert merged.without_older(SPAN_MS)[0] is one
    assert Merged.of([]).without_older(SPAN_MS) == []
    assert Merged.of([]).skews("m", SPAN_MS) == set()


def test_all_samples_of_such_a_scrape_are_left_out_and_no_others() -> None:
    rows = [{"instance": "n1:1", "pod": "p"}, {"instance": "n2:1", "pod": "q"}, {"pod": "r"}]
    points = [(60.0, 1.0), (60.5, 2.0)]
    (kept,) = without(
        [block(rows, points, points, points)], {Skew("m", "n1:1", "n1", 60_500), Skew("m", "n1:1", "n1", 1)}
    )
    assert kept.labels.to_pylist() == [{**row, "instance": row.get("instance")} for row in rows]
    assert kept.offsets.tolist() == [0, 1, 3, 5]
    assert kept.stamps_ms.tolist() == [60_000, 60_000, 60_500, 60_000, 60_500]


def test_a_series_that_such_scrapes_alone_show_is_gone() -> None:
    rows = [{"instance": "n1:1", "pod": "p"}, {"instance": "n2:1", "pod": "q"}]
    (kept,) = without([block(rows, [(60.5, 1.0)], [(60.5, 2.0)])], {Skew("m", "n1:1", "n1", 60_500)})
    assert kept.labels["pod"].to_pylist() == ["q"]
    assert kept.values.tolist() == [2.0]
    plain = block([{"pod": "p"}], [(60.5, 1.0)])
    assert next(without([plain], {Skew("m", "n1:1", "n1", 60_500)})) is plain
