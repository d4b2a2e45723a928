"""Raw samples read from the bytes of an answer are those that a JSON parser reads, to the bit, however written."""

import json
import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.samples import Block
from pipeline.sources.prometheus import matrix_json
from pipeline.sources.prometheus.matrix_json import NoMatrixError, Wanted, read_matrix
from pipeline.sources.prometheus.raw_blocks import MALFORMED
from tests.sources.series import rows

Item = dict[str, Any]
Found = dict[tuple[tuple[str, str], ...], list[tuple[int, int]]]

EVERYTHING = Wanted(-(1 << 60), 1 << 60)
NAMES = st.sampled_from(["__name__", "pod", "zone", "values", "metric", "result", "a"])
TEXTS = st.one_of(
    st.sampled_from(['"', "\\", '"],[', ']]},{"metric":{', '"values":[[1,"2"]]', "ünï→\u2028", "\n\t\x01", "]]}]", ""]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
STAMPS_MS = st.integers(0, 4_102_444_800_000)
VALUES = st.floats(allow_nan=False) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1 + 0.2, 2.0**53])


def go_float(value: float) -> str:
    """As Go writes a value: never an exponent, infinities with a sign."""
    if math.isinf(value) or math.isnan(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    text = np.format_float_positional(value, unique=True, trim="-")
    return str(text)


def go_seconds(ms: int) -> str:
    """As Prometheus writes a stamp: without trailing zeros."""
    return f"{ms // 1000}.{ms % 1000:03d}".rstrip("0").rstrip(".")


def compact(items: list[Item]) -> str:
    """As all known servers write it."""
    return ",".join(
        f'{{"metric":{json.dumps(item["metric"], separators=(",", ":"), ensure_ascii=False)},"values":['
        + ",".join(f'[{go_seconds(ms)},"{go_float(value)}"]' for ms, value in item["samples"])
        + "]}"
        for item in items
    )


def spaced(items: list[Item]) -> str:
    """As another JSON writer may."""
    values = [
        {"metric": item["metric"], "values": [[ms / 1000, go_float(v)] for ms, v in item["samples"]]} for item in items
    ]
    return json.dumps(values)[1:-1]


def turned(items: list[Item]) -> str:
    """Members in another order."""
    values = [
        {"values": [[ms / 1000, go_float(v)] for ms, v in item["samples"]], "metric": item["metric"]} for item in items
    ]
    return json.dumps(values, separators=(",", ":"))[1:-1]


def mingled(items: list[Item]) -> str:
    """Each series in another way than the one before."""
    return ",".join([compact, spaced, turned][number % 3]([item]) for number, item in enumerate(items))


ENVELOPES = [
    '{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}',
    '{{"status":"success","isPartial":false,"data":{{"resultType":"matrix","result":[{}]}},"stats":{{"n":"1"}}}}',
    '{{"status": "success", "data": {{"resultType": "matrix", "result": [{}]}}}}',
    '{{"data":{{"result":[{}],"resultType":"matrix"}},"status":"success","warnings":["say \\"result\\":["]}}\n',
    '{{"infos":["]]}}]"],"data":{{"stats":{{"result":[1]}},"result":[{}]}},"status":"success"}}',
]
WRITERS = [compact, spaced, turned, mingled]


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[Item], bytes]:
    metrics = draw(st.lists(st.dictionaries(NAMES, TEXTS, max_size=4), max_size=5))
    items = []
    for metric in metrics:
        stamps = draw(st.lists(STAMPS_MS, max_size=6, unique=True).map(sorted))
        items.append({"metric": metric, "samples": [(ms, draw(VALUES)) for ms in stamps]})
    writer, envelope = draw(st.sampled_from(WRITERS)), draw(st.sampled_from(ENVELOPES))
    return items, envelope.format(writer(items)).encode()


def bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def loaded(items: list[Item]) -> list[tuple[tuple[tuple[str, str], ...], list[tuple[int, int]]]]:
    """Series as they were made up; the metric's name is no label, and who has no sample is not there."""
    return [
        (
            tuple(sorted((k, v) for k, v in item["metric"].items() if k != "__name__")),
            [(ms, bits(value)) for ms, value in item["samples"]],
        )
        for item in items
        if item["samples"]
    ]


def found(blocks: Iterator[Block]) -> list[tuple[tuple[tuple[str, str], ...], list[tuple[int, int]]]]:
    return [
        (labels, [(ms, bits(value)) for ms, value in samples]) for block in blocks for labels, samples in rows(block)
    ]


@given(answers())
@settings(deadline=None)
@example(([], ENVELOPES[0].format("").encode()))
def test_every_answer_is_read_as_it_was_made_up(made: tuple[list[Item], bytes]) -> None:
    items, body = made
    assert found(read_matrix(body, EVERYTHING)) == loaded(items)


@given(answers())
@settings(deadline=None)
def test_both_ways_of_reading_give_equal_blocks(made: tuple[list[Item], bytes]) -> None:
    _, body = made
    parsed = EVERYTHING.block(matrix_json._parsed(json.loads(body)["data"]["result"]))
    assert found(read_matrix(body, EVERYTHING)) == ([] if parsed is None else found(iter([parsed])))


ITEMS: list[Item] = [
    {"metric": {"__name__": "m", "pod": 'a"b\\]],', "z": "ü"}, "samples": [(1_000, 0.1), (1_500, -2.5), (2_123, 1e22)]},
    {"metric": {}, "samples": [(1_793_606_400_001, 3.0)]},
    {"metric": {"x": '{"metric":{}}'}, "samples": [(5, math.nan), (6, -math.inf)]},
]  # fmt: skip


@pytest.fixture
def never_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_items: object) -> None:
        raise AssertionError("read by the general parser")

    monkeypatch.setattr(matrix_json, "_parsed", fail)


@pytest.mark.usefixtures("never_parsed")
@pytest.mark.parametrize("envelope", [ENVELOPES[0], ENVELOPES[1]])
@pytest.mark.parametrize("stretch_bytes", [1, 60, 1 << 20])
def test_what_servers_write_is_scanned_and_not_parsed(
    envelope: str, stretch_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix_json, "STRETCH_BYTES", stretch_bytes)
    assert found(read_matrix(envelope.format(compact(ITEMS)).encode(), EVERYTHING)) == loaded(ITEMS)


def test_a_value_that_is_not_scanned_is_parsed_with_the_series_around_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    general = matrix_json._parsed

    def noted(items: list[Item]) -> matrix_json.Samples:
        parsed.append(len(items))
        return general(items)

    monkeypatch.setattr(matrix_json, "STRETCH_BYTES", 1)
    monkeypatch.setattr(matrix_json, "_parsed", noted)
    text = ENVELOPES[0].format(compact(ITEMS)).replace('"3"', r'"\u0033"')
    assert found(read_matrix(text.encode(), EVERYTHING)) == loaded(ITEMS)
    assert parsed == [1], "an escaped digit is no number to Arrow"


def test_only_what_is_wanted_is_given() -> None:
    body = ENVELOPES[0].format(compact(ITEMS)).encode()
    assert [samples for _, samples in found(read_matrix(body, Wanted(1_500, 2_123)))] == [loaded(ITEMS)[0][1][1:]]
    assert list(read_matrix(body, Wanted(3_000, 4_000))) == []
    without_nan = dict(found(read_matrix(body, Wanted(0, 100, nan=False))))
    assert without_nan == {(("x", '{"metric":{}}'),): [(6, bits(-math.inf))]}


def test_an_answer_that_is_cut_anywhere_is_an_error_and_never_less(capsys: pytest.CaptureFixture[str]) -> None:
    body = ENVELOPES[0].format(compact(ITEMS)).encode()
    for size in range(len(body)):
        with pytest.raises((NoMatrixError, *MALFORMED)):
            list(read_matrix(body[:size], EVERYTHING))
    assert capsys.readouterr().err == ""


BROKEN: list[Callable[[str], str]] = [
    lambda text: text.replace('"0.1"', "0.1,"),
    lambda text: text.replace('"0.1"', '"0.1'),
    lambda text: text.replace('"0.1"', '"0.1x"'),
    lambda text: text.replace('"0.1"', '""'),
    lambda text: text.replace("[1.5,", "[1.5;"),
    lambda text: text.replace("[1.5,", "[,"),
    lambda text: text.replace("[1.5,", "[null,"),
    lambda text: text.replace("[1.5,", "[1e999,"),
    lambda text: text.replace("[1.5,", "[NaN,"),
    lambda text: text.replace('"],[1.5', '"]![1.5'),
    lambda text: text.replace('"],[1.5', '"][1.5'),
    lambda text: text.replace('"ü"', '"ü'),
    lambda text: text.replace('"ü"', "7"),
    lambda text: text.replace('{"metric":{}', '{"metric":[]'),
    lambda text: text.replace('{"metric":{}', '{"metrics":{}'),
    lambda text: text.replace('{"metric":{},"values"', '{"metric":{},"value"'),
    lambda text: text.replace('{"metric":{},"values":[[', '{"metric":{},"values":[[1,"2","3"],[[]],['),
    lambda text: text.replace("]]}]", "]]}"),
    lambda text: text.replace("]]},", "]],", 1),
    lambda text: text.replace("]]},", ']],"histograms":[[1,{"count":"1"}]]},', 1),
    lambda text: text.replace('"values":[[1793', '"histograms":[[1793'),
]


@pytest.mark.parametrize("breaking", BROKEN)
def test_what_is_no_matrix_of_floats_is_malformed_wherever_it_breaks(breaking: Callable[[str], str]) -> None:
    text = ENVELOPES[0].format(compact(ITEMS))
    broken = breaking(text)
    assert broken != text
    with pytest.raises((NoMatrixError, *MALFORMED)):
        list(read_matrix(broken.encode(), EVERYTHING))


@given(st.data())
@settings(deadline=None)
def test_changed_bytes_are_read_as_the_parser_reads_them_or_not_at_all(data: st.DataObject) -> None:
    body = bytearray(ENVELOPES[0].format(compact(ITEMS)).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place] = data.draw(st.sampled_from(b'"[]{},:\\ n'))
    try:
        expected = [EVERYTHING.block(matrix_json._parsed(matrix_json._result(bytes(body))))]
    except (NoMatrixError, *MALFORMED):
        expected = []
    try:
        given_blocks = list(read_matrix(bytes(body), EVERYTHING))
    except (NoMatrixError, *MALFORMED):
        given_blocks = []
    assert found(iter(given_blocks)) == found(block for block in expected if block is not None)
