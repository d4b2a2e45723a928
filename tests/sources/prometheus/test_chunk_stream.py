"""Answers made by hand, cut, repeated, damaged and contradictory: samples as a query would show them, or an error."""

import contextlib
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.prometheus.chunk_stream import ChunkStream, Given
from pipeline.sources.prometheus.external_labels import Query
from pipeline.sources.prometheus.frames import DamagedError
from pipeline.sources.prometheus.kernels import NUMPY, Kernels
from pipeline.sources.prometheus.selectors import Matcher
from tests.sources.prometheus.chunk_writer import (
    FLOAT_HISTOGRAM,
    HISTOGRAM,
    XOR2,
    bits_of,
    chunk,
    field,
    frame,
    number,
    response,
    series,
    varint,
)
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


def test_external_labels_are_taken_off_where_the_server_added_them() -> None:
    queries = (
        Query((Matcher("z", "=", ""),), {"r": "1", "z": "eu"}),
        Query((Matcher("z", "!=", ""),), {"r": "1"}),
    )
    answer = (
        told({"a": "1", "r": "1", "z": "eu"}, packed(A), 0)
        + told({"a": "2", "r": "2", "z": "eu"}, packed(B), 0)  # its own r
        + told({"a": "1", "r": "1", "z": "eu"}, packed(C), 1)  # its own z
    )
    assert read(answer, queries=queries) == {key(a="1"): A, key(a="2", r="2"): B, key(a="1", z="eu"): C}


def by_query(batches: list[bytes], given: Given, queries: Sequence[Query] = PLAIN * 3) -> dict[int, Found]:
    """What comes of an answer to several queries, by their numbers."""
    found: dict[int, Found] = {}
    with contextlib.suppress(DamagedError):
        for block in ChunkStream(START, END, queries, NUMPY).blocks(batches, given):
            for labels, samples in rows(block):
                found.setdefault(block.query, {}).setdefault(labels, []).extend(samples)
    return found


def test_each_query_gets_its_own_series_one_series_of_two_queries_twice() -> None:
    parts = [told({"a": "1"}, packed(A), 0), told({"b": "1", "c": "2"}, packed(B), 0)]
    parts += [told({"a": "1"}, packed(A), 2), told({"a": "3"}, packed(C), 2)]
    wanted = {0: {key(a="1"): A, key(b="1", c="2"): B}, 2: {key(a="1"): A, key(a="3"): C}}
    assert by_query([b"".join(parts)], Given()) == wanted
    assert by_query(parts, Given()) == wanted
    for through in range(len(parts) + 1):
        given = Given()
        came = by_query([*parts[:through], b"\xff"], given)
        for query, found in by_query([b"".join(parts)], given).items():
            for labels, samples in found.items():
                assert came.setdefault(query, {}).setdefault(labels, samples) is samples, "given before"
        assert came == wanted


def test_answers_to_queries_in_any_order_are_told_apart() -> None:
    parts = [told({"a": str(number)}, packed(A), query) for number, query in enumerate([2, 0, 1, 0, 2])]
    found = by_query([b"".join(parts)], Given())
    assert {query: sorted(own) for query, own in found.items()} == {
        0: [key(a="1"), key(a="3")], 1: [key(a="2")], 2: [key(a="0"), key(a="4")],
    }  # fmt: skip


def test_labels_are_taken_off_where_the_server_added_them_to_that_query() -> None:
    queries = [Query((), {"r": "1"}), Query((), {})]
    parts = [told({"a": "1", "r": "1"}, packed(A), query) for query in (0, 1)]
    assert by_query([b"".join(parts)], Given(), queries) == {0: {key(a="1"): A}, 1: {key(a="1", r="1"): A}}


def test_what_is_to_be_read_in_another_way_is_told_by_its_query() -> None:
    given = Given()
    foreign = [chunk([], HISTOGRAM, b"\x00\x01")]
    parts = [told({"a": "1"}, foreign, 1), told({"a": "2"}, packed(A[:2]) + packed([(START, 9.0)]), 1)]
    assert by_query([b"".join([*parts, told({"a": "1"}, foreign, 2)])], given) == {}
    assert given.foreign == {1: [{"__name__": "m", "a": "1"}], 2: [{"__name__": "m", "a": "1"}]}
    assert given.contradictory == {1: [{"__name__": "m", "a": "2"}]}


@pytest.mark.parametrize("query", [1, 7, -1])
def test_an_answer_to_a_query_that_was_not_asked_is_malformed(query: int) -> None:
    with pytest.raises(ValueError, match="a query that was not asked"):
        read(told({"a": "0"}, packed(B)) + told({"a": "1"}, packed(A), query))


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


CUTS = [1, 3, 4, 5, 20, len(THREE) - 1, len(told({"a": "1"}, packed(A))) + 3]


@pytest.mark.parametrize("kept", CUTS)
def test_an_answer_that_ends_within_a_frame_is_damaged(kept: int) -> None:
    with pytest.raises(DamagedError, match="ends within a frame"):
        read(THREE[:kept])


def test_a_wrong_crc_and_an_impossible_length_are_damaged() -> None:
    for at in (3, 40, len(THREE) - 1):
        changed = bytearray(THREE)
        changed[at] ^= 16
        with pytest.raises(DamagedError, match="CRC is wrong"):
            read(bytes(changed))
    with pytest.raises(DamagedError, match="a frame of 50000001 bytes"):
        read(varint(50_000_001) + bytes(100))
    with pytest.raises(DamagedError):
        read(b"\xff" * 30)


def test_an_error_in_words_after_good_frames_is_damaged() -> None:
    with pytest.raises(DamagedError):
        read(THREE + b"expanding series: context deadline exceeded\n")


GOOD = chunk([(START, bits_of(1.0)), (START + 1, bits_of(2.0))])


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a\xff\x01",
        field(1, field(1, b"\x0a\x7f") + field(2, GOOD)),
        field(1, field(2, GOOD) + field(1, field(1, b"late") + field(2, b"x"))),
        field(1, field(1, field(2, b"nameless")) + field(2, GOOD)),
        field(1, field(1, field(1, b"a") + field(1, b"b")) + field(2, GOOD)),
        field(1, field(1, field(1, b"a") + field(2, b"\xff\xfe")) + field(2, GOOD)),
        field(1, field(2, number(3, 1))),
        field(1, field(2, number(3, 1) + field(4, b"\x00"))),
        field(1, field(2, number(3, 1) + field(4, b"\x00\x09\x00\x00"))),
        field(1, field(2, field(3, b"\x01") + field(4, b"\x00\x00"))),
        field(1, field(2, number(3, 1) + number(4, 3))),
        number(1, 5),
        field(2, b"0"),
    ],
    ids=lambda message: message.hex()[:40],
)
def test_a_sound_frame_around_a_broken_message_is_malformed(message: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # whose words differ
        read(told({"a": "0"}, packed(B)) + frame(message))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_message_in_a_sound_frame_is_read_or_refused(data: st.DataObject) -> None:
    message = bytearray(response([series({"__name__": "m", "a": "1", "b": "long" * 9}, packed(A[:9]) + packed(B))]))
    for _ in range(data.draw(st.integers(1, 5))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        read(frame(bytes(message)))
