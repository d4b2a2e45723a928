"""An answer to several queries: each has its own series, without the labels that the server added to them."""

import contextlib
from collections.abc import Sequence

import pytest

from pipeline.sources.prometheus.chunk_stream import ChunkStream, Given
from pipeline.sources.prometheus.external_labels import Query
from pipeline.sources.prometheus.frames import DamagedError
from pipeline.sources.prometheus.kernels import NUMPY
from pipeline.sources.prometheus.selectors import Matcher
from tests.sources.prometheus.chunk_writer import HISTOGRAM, chunk
from tests.sources.prometheus.streamed import END, PLAIN, START, A, B, C, Found, key, packed, read, told
from tests.sources.series import rows


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
