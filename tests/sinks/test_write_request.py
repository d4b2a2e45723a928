"""The bytes of a write request, read back by a decoder of its own, and batches cut in every way."""

import math
import struct
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RemoteWriteError
from pipeline.sinks.batches import Batch, Labels, Sample
from pipeline.sinks.write_request import LABELS, encode, write_request

NOW_MS = 1_795_000_000_000


def body_of(*samples: Sample, now_ms: int = NOW_MS) -> bytes:
    return write_request(Batch.of_samples(samples), now_ms)


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """A protobuf message's fields, by the wire format's description and nothing else."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, wire = divmod(varint(), 8)
        if wire == 0:
            value = varint()
            yield number, value - (1 << 64) if value >> 63 else value
        elif wire == 1:
            yield number, struct.unpack("<d", message[at : at + 8])[0]
            at += 8
        else:
            assert wire == 2
            size = varint()
            yield number, message[at : at + size]
            at += size
    assert at == len(message)


def decoded(message: bytes) -> list[tuple[list[tuple[str, str]], list[tuple[int, float]]]]:
    series = []
    for number, one in fields(message):
        assert number == 1
        labels, points = [], []
        for kind, content in fields(one):
            part = dict(fields(content))
            if kind == 1:
                labels.append((part[1].decode(), part[2].decode()))
            else:
                points.append((part[2], part[1]))
        series.append((labels, points))
    return series


names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,12}", fullmatch=True).filter(lambda name: name != "__name__")
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(max_examples=100, deadline=None)
@given(
    series=st.dictionaries(
        st.tuples(
            st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,12}", fullmatch=True),
            st.dictionaries(names, texts, max_size=4).map(lambda labels: tuple(sorted(labels.items()))),
        ),
        st.dictionaries(
            st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3
        ),
        max_size=5,
    )
)
def test_an_independent_decoder_reads_back_every_label_stamp_and_value(
    series: dict[tuple[str, Labels], dict[int, float]],
) -> None:
    samples = [
        Sample(metric, labels, stamp, value)
        for (metric, labels), points in series.items()
        for stamp, value in points.items()
    ]
    expected = [
        (sorted([("__name__", metric), *labels]), sorted(points.items())) for (metric, labels), points in series.items()
    ]
    assert decoded(encode(Batch.of_samples(samples))) == expected


@settings(max_examples=100, deadline=None)
@given(
    points=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 4), st.floats(-1e9, 1e9)), max_size=20
    ),
    begin_ms=st.sampled_from([NOW_MS, (1 << 35) - 2, (1 << 42) - 2]),
)
def test_samples_in_any_order_become_whole_series_in_the_order_of_their_stamps(
    points: list[tuple[str, str, int, float]], begin_ms: int
) -> None:
    """Around both ends of what six bytes hold of a stamp, too; labels are equal, never the same object."""
    samples = [Sample(name, (("cluster", text),), begin_ms + later, value) for name, text, later, value in points]
    expected: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for name, text, later, value in points:
        expected.setdefault((name, text), []).append((begin_ms + later, value))
    assert decoded(encode(Batch.of_samples(samples))) == [
        ([("__name__", name), ("cluster", text)], sorted(told)) for (name, text), told in expected.items()
    ]


def test_a_request_is_a_snappy_block_of_the_message() -> None:
    samples = [Sample("carbon_energy_joules", (("cluster", "größe"),), NOW_MS, 1.5)]
    body = write_request(Batch.of_samples(samples), NOW_MS)
    plain = encode(Batch.of_samples(samples))
    assert bytes(pa.decompress(body, decompressed_size=len(plain), codec="snappy", asbytes=True)) == plain


def test_twenty_thousand_series_are_one_message() -> None:
    samples = [Sample("carbon_energy_joules", (("workload", f"w{n}"),), NOW_MS, float(n)) for n in range(20_000)]
    assert len(decoded(encode(Batch.of_samples(samples)))) == 20_000


def test_more_series_than_are_kept_encoded_are_encoded_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sinks.write_request.KEPT_SERIES", 3)
    series = [("carbon_energy_joules", (("workload", f"kept{n % 7}"),)) for n in range(20)]
    for one in series:
        assert decoded(encode(Batch.of_points({one: [(NOW_MS, 1.0)]}))) == [
            ([("__name__", one[0]), *one[1]], [(NOW_MS, 1.0)])
        ]
        assert len(LABELS) <= 3


@pytest.mark.parametrize(
    ("metric", "labels", "value"),
    [
        ("bad-name", (), 1.0),
        ("good", (("bad-label", "x"),), 1.0),
        ("good", (("empty", ""),), 1.0),
        ("good", (("b", "x"), ("a", "x")), 1.0),
        ("good", (("a", "x"), ("a", "y")), 1.0),
        ("good", (("a", "\ud800"),), 1.0),
        ("good", (), math.nan),
        ("good", (), math.inf),
    ],
)
def test_what_no_store_could_give_back_is_refused_before_it_is_sent(metric: str, labels: Labels, value: float) -> None:
    with pytest.raises(RemoteWriteError) as refused:
        body_of(Sample(metric, labels, NOW_MS, value))
    assert refused.value.cause == "invalid_sample"


def test_a_stamp_after_now_is_refused_before_it_is_sent() -> None:
    with pytest.raises(RemoteWriteError) as refused:
        body_of(Sample("good", (), NOW_MS + 1, 1.0))
    assert refused.value.cause == "future"
    assert body_of(Sample("good", (), NOW_MS, 1.0))


cuts = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 9)), min_size=1, max_size=30, unique=True
)


@settings(max_examples=100, deadline=None)
@given(points=cuts, most=st.integers(1, 12))
def test_parts_and_halves_of_a_batch_are_its_samples_in_their_order_and_no_other(
    points: list[tuple[str, str, int]], most: int
) -> None:
    samples = [Sample(name, (("cluster", text),), NOW_MS + later, later / 3) for name, text, later in points]
    batch = Batch.of_samples(samples)
    parts = batch.parts(most)
    assert [sample for part in parts for sample in part.samples()] == list(batch.samples())
    assert max(map(len, parts)) <= most
    assert sorted(batch.samples()) == sorted(samples)
    if len(batch) > 1:
        older, younger = batch.halves()
        assert sorted([*older.samples(), *younger.samples()]) == sorted(samples)
        assert len(older), "neither is all"
        assert len(younger)
    for part in parts:
        assert decoded(encode(part)) == [
            (
                [("__name__", metric), *labels],
                [(s.stamp_ms, s.value) for s in part.samples() if s[:2] == (metric, labels)],
            )
            for metric, labels in part.series
        ]
