"""An expression at evenly spaced stamps: asked for at once, in parts where a server wants that, and one by one."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.errors import SourceMalformed, SourceRejected
from pipeline.samples import Block
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.api_client import PrometheusServer
from tests.conftest import RealClock
from tests.misbehaving import NOT_JSON, WITHOUT_DATA, Answer, Asked, data, failure, misbehaving

HOUR_MS = 3_600_000
AT_MS = range(HOUR_MS + 600_000, 6 * HOUR_MS, HOUR_MS)  # five of them
HOLDS = {"a": [1.0, 2.0, None, 4.0, 5.0], "b": [None, None, 7.5, None, None]}  # by pod, at each of these


def answered(asked: Asked) -> Answer:
    """As a Prometheus that holds this, whatever the expression."""
    if asked.path.endswith("/query"):
        hour = AT_MS.index(round(float(asked.parameters["time"]) * 1000))
        found = {pod: values[hour] for pod, values in HOLDS.items() if values[hour] is not None}
        return data([{"metric": {"pod": p}, "value": [AT_MS[hour] / 1000, str(v)]} for p, v in found.items()], "vector")
    first, last, step = (round(float(asked.parameters[name]) * 1000) for name in ("start", "end", "step"))
    result = []
    for pod, values in HOLDS.items():
        pairs = [[ms / 1000, str(v)] for ms, v in zip(AT_MS, values, strict=True) if v is not None]
        inside = [pair for pair in pairs if first <= pair[0] * 1000 <= last and (pair[0] * 1000 - first) % step == 0]
        result += [{"metric": {"pod": pod}, "values": inside}] if inside else []
    return data(result)


def read(decide: Callable[[Asked], Answer], at_ms: range = AT_MS) -> tuple[dict[str, list[float | None]], list[Asked]]:
    """What is found of each pod at each stamp, and what was asked."""
    found: dict[str, list[float | None]] = {}
    with misbehaving(decide=decide) as server:
        endpoint = PrometheusEndpoint(url=server.url)
        client = PrometheusServer(endpoint, HttpSettings(retry_seconds=0), {}, RealClock(), pytest.fail)
        for block in client.instants(lambda series: f"max by (pod) ({series})", "m{}", at_ms):
            put(found, block, at_ms)
        return found, server.asked


def put(found: dict[str, list[float | None]], block: Block, at_ms: range) -> None:
    row = np.repeat(np.arange(block.labels.num_rows), np.diff(block.offsets))
    pods = block.labels["pod"].to_pylist()
    for number, stamp, value in zip(row.tolist(), block.stamps_ms.tolist(), block.values.tolist(), strict=True):
        found.setdefault(pods[number], [None] * len(at_ms))[at_ms.index(stamp)] = value


def test_many_stamps_are_one_range() -> None:
    found, asked = read(answered)
    assert found == HOLDS
    (only,) = asked
    assert only.path == "/api/v1/query_range"
    told = {name: only.parameters[name] for name in ("query", "start", "end", "step")}
    assert told == {"query": "max by (pod) (m{})", "start": "4200.000", "end": "18600.000", "step": "3600.000"}


def test_one_stamp_is_an_instant() -> None:
    found, asked = read(answered, AT_MS[3:4])
    assert found == {"a": [4.0]}
    assert [one.path for one in asked] == ["/api/v1/query"]


def test_a_range_that_is_too_much_is_cut_and_no_stamp_is_lost_or_doubled() -> None:
    def strict(asked: Asked) -> Answer:
        wide = asked.path.endswith("range") and float(asked.parameters["end"]) - float(asked.parameters["start"]) > 3600
        return failure(422, "query processing would load too many samples into memory") if wide else answered(asked)

    found, asked = read(strict)
    assert found == HOLDS
    times = [one.parameters["time"] for one in asked if one.path.endswith("/query")]
    assert len(times) == len(set(times))


def test_a_server_that_answers_at_other_stamps_is_asked_for_each_by_itself() -> None:
    def moved(asked: Asked) -> Answer:
        if asked.path.endswith("/query"):
            return answered(asked)
        return data([{"metric": {"pod": "a"}, "values": [[hour * 3600, "9"] for hour in range(1, 6)]}])

    found, asked = read(moved)
    assert found == HOLDS
    assert len({one.parameters["time"] for one in asked if one.path.endswith("/query")}) == len(AT_MS)


def test_nothing_is_no_block() -> None:
    assert read(lambda _asked: data([]))[0] == {}
    assert read(lambda _asked: data([], "vector"), AT_MS[:1])[0] == {}


@pytest.mark.parametrize("answer", [NOT_JSON, WITHOUT_DATA, data([{"metric": {}, "value": [1, "x"]}], "vector")])
@pytest.mark.parametrize("at_ms", [AT_MS, AT_MS[:1]])
def test_what_is_no_answer_is_told_so(answer: Answer, at_ms: range) -> None:
    with pytest.raises(SourceMalformed, match="does not answer 'max by"):
        read(lambda _asked: answer, at_ms)


def test_what_is_refused_for_another_reason_is_an_error() -> None:
    with pytest.raises(SourceRejected, match="parse error"):
        read(lambda _asked: failure(400, "parse error"))
