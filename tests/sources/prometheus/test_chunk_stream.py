"""Answers made by hand, cut, repeated and contradictory: samples as a query would show them."""

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.prometheus.chunk_stream import ChunkStream, Given
from pipeline.sources.prometheus.frames import DamagedError
from pipeline.sources.prometheus.kernels import NUMPY
from tests.sources.prometheus.chunk_writer import (
    FLOAT_HISTOGRAM,
    HISTOGRAM,
    XOR2,
    bits_of,
    chunk,
    frame,
    response,
    series,
)
from tests.sources.prometheus.streamed import (
    END,
    PLAIN,
    STALE,
    START,
    THREE,
    WANTED,
    A,
    B,
    C,
    Found,
    Points,
    key,
    packed,
    points,
    read,
    told,
)
from tests.sources.series import rows


def test_series_come_with_their_labels_and_samples() -> None:
    assert read(THREE) == WANTED


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, len(THREE) - 1), max_size=8))
def test_it_does_not_matter_where_the_line_cuts_the_answer(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(THREE)]
    assert read([THREE[a:b] for a, b in pairwise(edges)]) == WANTED


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.sampled_from([60, 500, 1 << 22]), st.booleans())
def test_a_series_split_over_frames_is_one_whatever_batch_a_part_is_in(
    parts: list[int],
    batch_bytes: int,
    together: bool,  # noqa: FBT001 # drawn
) -> None:
    whole = points(20 * sum(parts))
    chunks = packed(whole, per_chunk=20)
    split = [chunks[sum(parts[:i]) : sum(parts[: i + 1])] for i in range(len(parts))]
    labels = {"__name__": "m", "a": "2"}
    if together:  # the frame of the first part holds another series' end, too
        first = frame(response([series({"__name__": "m", "a": "1"}, packed(A)), series(labels, split[0])]))
        frames = [first, *(told({"a": "2"}, part) for part in split[1:])]
    else:
        frames = [told({"a": "1"}, packed(A)), *(told({"a": "2"}, part) for part in split)]
    answer = b"".join([*frames, told({"a": "3"}, packed(C))])
    batches = [answer[i : i + batch_bytes] for i in range(0, len(answer), batch_bytes)]
    wanted = {key(a="1"): A, key(a="2"): [p for p in whole if p[0] <= END], key(a="3"): C}
    assert read(batches) == wanted


def test_an_answer_without_a_frame_and_one_without_a_series_hold_nothing() -> None:
    assert read(b"") == {}
    assert read(frame(b"") + frame(response([]))) == {}


def test_only_samples_of_the_span_count_and_a_series_without_any_is_left_out() -> None:
    edges = [(START - 1, 1.0), (START, 2.0), (START + 7, 3.0), (END, 4.0), (END + 1, 5.0)]
    before = [(START - 60_000, 1.0), (START - 1, 2.0)]
    answer = told({"a": "1"}, packed(edges)) + told({"a": "2", "only": "here"}, packed(before))
    assert read(answer) == {key(a="1"): edges[1:4]}


def test_stale_markers_are_no_samples_and_other_nans_are() -> None:
    exact = [
        (START, bits_of(1.0)),
        (START + 1, STALE),
        (START + 2, 0x7FF8000000000001),
        (START + 3, 0x7FF0000000000003),
    ]
    ((_, samples),) = read(told({}, [chunk(exact), chunk([(START + 4, STALE)])])).items()
    assert [stamp for stamp, _ in samples] == [START, START + 2, START + 3]
    assert read(told({}, [chunk([(START + 4, STALE)])])) == {}


def test_chunks_out_of_order_are_sorted_and_samples_told_twice_count_once() -> None:
    early, late = packed(A[:60]), packed(A[40:])
    for chunks in (late + early, early + late, early + late + early):
        assert read(told({"a": "1"}, chunks) + told({"a": "3"}, packed(C))) == {key(a="1"): A, key(a="3"): C}


def test_a_series_with_two_values_at_one_stamp_is_left_to_another_way_of_reading() -> None:
    other = [(ms, value + 1) for ms, value in A[50:]]
    given = Given()
    answer = told({"a": "1"}, packed(A) + packed(other)) + told({"a": "3"}, packed(C))
    assert read(answer, given) == {key(a="3"): C}
    assert given.contradictory == {0: [{"__name__": "m", "a": "1"}]}
    assert given.foreign == {}


def test_zero_and_minus_zero_at_one_stamp_contradict_each_other() -> None:
    given = Given()
    assert read(told({}, packed([(START, 0.0)]) + packed([(START, -0.0)])), given) == {}
    assert len(given.contradictory[0]) == 1


@pytest.mark.parametrize("kind", [HISTOGRAM, FLOAT_HISTOGRAM, XOR2, 0, 7])
def test_a_chunk_of_another_type_is_never_decoded_and_its_series_left_to_another_way_of_reading(kind: int) -> None:
    given = Given()
    mixed = [*packed(A[:60]), chunk([(START, 0), (START + 1, 0)], kind, b"\x00\x05\xff\xff\xff\xff\xff\xff")]
    answer = told({"a": "1"}, mixed) + told({"a": "3"}, packed(C)) + told({"a": "4"}, mixed[1:])
    assert read(answer, given) == {key(a="3"): C}
    assert given.foreign == {0: [{"__name__": "m", "a": "1"}, {"__name__": "m", "a": "4"}]}
    assert given.contradictory == {}


def test_what_was_given_before_an_answer_broke_off_is_not_given_again() -> None:
    given = Given()
    parts = [told({"a": "1"}, packed(A)), told({"a": "2"}, packed(B)), told({"a": "3"}, packed(C))]
    stream = ChunkStream(START, END, PLAIN, NUMPY)
    blocks = stream.blocks([parts[0], parts[1], parts[2][:-5]], given)
    assert rows(next(blocks)) == [(key(a="1"), A)]
    with pytest.raises(DamagedError):
        next(blocks)  # the last whole frame may go on in the next, so it is not given
    assert read(b"".join(parts), given) == {key(a="2"): B, key(a="3"): C}


FIRST, SECOND, THIRD = A[:40], A[40:70], A[70:]


def back(first: Points, again: Points) -> list[bytes]:
    """Frames of a series that comes back after another one."""
    return [told({"a": "1"}, packed(first)), told({"a": "2"}, packed(B)), told({"a": "1"}, packed(again))]


def test_a_series_that_comes_back_goes_on_where_it_was() -> None:
    batches = [*back(FIRST, SECOND), told({"a": "4"}, packed(C)), told({"a": "1"}, packed(THIRD))]
    wanted = {key(a="1"): A, key(a="2"): B, key(a="4"): C}
    assert read(batches) == wanted
    assert read(b"".join(batches)) == wanted


def test_within_a_batch_the_parts_of_a_series_may_come_in_any_order() -> None:
    batch = b"".join(back(SECOND, FIRST + SECOND[:3])) + told({"a": "4"}, packed(C))
    assert read(batch) == {key(a="1"): FIRST + SECOND, key(a="2"): B, key(a="4"): C}


def test_a_series_that_comes_back_with_samples_before_those_given_is_malformed() -> None:
    end = told({"a": "4"}, packed(C))
    for again in (FIRST, FIRST[-1:], SECOND[:1] + FIRST[:1]):
        with pytest.raises(ValueError, match="two places"):
            read([*back(SECOND, again), end])
    read([*back(FIRST, SECOND), end])


def test_a_second_attempt_gives_what_is_new_of_a_series_that_comes_back() -> None:
    batches = [*back(FIRST, SECOND), told({"a": "4"}, packed(C)), told({"a": "1"}, packed(THIRD))]
    for through in range(len(batches) + 1):
        given = Given()
        stream = ChunkStream(START, END, PLAIN, NUMPY)
        came: Found = {}
        with contextlib.suppress(DamagedError):
            for block in stream.blocks([*batches[:through], b"\xff"], given):
                for labels, samples in rows(block):
                    came.setdefault(labels, []).extend(samples)
        for labels, samples in read(batches, given).items():
            came.setdefault(labels, []).extend(samples)
        assert came == {key(a="1"): A, key(a="2"): B, key(a="4"): C}


def test_a_series_that_is_read_apart_comes_once_however_often_it_is_told() -> None:
    foreign = told({"a": "1"}, [chunk([], HISTOGRAM, b"\x00\x01")])
    others = [told({"a": "2"}, packed(B)), told({"a": "4"}, packed(C))]
    given = Given()
    for _ in range(2):
        read([foreign, *others, told({"a": "1"}, packed(A)), told({"a": "5"}, packed(A)), foreign], given)
    assert given.foreign == {0: [{"__name__": "m", "a": "1"}]}
    with pytest.raises(ValueError, match="two places"):
        read([told({"a": "1"}, packed(A)), *others, foreign])


def test_labels_that_some_series_lack_or_that_are_empty_are_null() -> None:
    answer = told({"a": "", "b": "ü→"}, packed(A)) + told({"c": "x" * 300}, packed(B))
    assert read(answer) == {key(b="ü→"): A, key(c="x" * 300): B}


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9) | st.sampled_from(
    ["x" * 127, "y" * 128]
)
NAMES = st.lists(st.sampled_from(["a", "b", "c" * 127, "d" * 128, "e" * 130, "ü", "zone"]), unique=True, max_size=4)


@settings(deadline=None, max_examples=100)
@given(data=st.data(), names=NAMES, alike=st.booleans())
def test_labels_of_any_length_come_whether_all_series_have_the_same_or_not(
    data: st.DataObject,
    names: list[str],
    alike: bool,  # noqa: FBT001 # drawn
) -> None:
    wanted: Found = {}
    for number_ in range(4):
        own = names if alike else data.draw(NAMES)
        labels = {name: data.draw(TEXTS) for name in own} | {"number": str(number_)}
        wanted[key(**labels)] = points(number_ + 1)
    answer = b"".join(told(dict(labels), packed(samples)) for labels, samples in wanted.items())
    assert read(answer) == wanted
