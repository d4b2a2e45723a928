"""A store's answer is read a stretch at a time, and as if it were parsed whole."""

import json
from typing import Any

import pytest

from pipeline.errors import RemoteWriteError
from pipeline.sinks.held import STRETCH_BYTES, held_of, matrix_of
from pipeline.units import MS_PER_HOUR

CUT = '"},{"metric":{"__name__":"x"},"values":[]},{"metric":'  # as a node's name, what answers are cut at


def series(number: int) -> dict[str, Any]:
    labels = {"cluster": "prod", "component": "package", "kind": "idle", "node": f"n{number}{CUT}ü", "revision": "0"}
    return {"metric": {"__name__": "carbon_node_energy_joules"} | labels, "values": [[60 + number, f"{number}.25"]]}


def answer(count: int, **beside: object) -> bytes:
    """As stores write it, without a space; what is beside the data comes last."""
    data = {"resultType": "matrix", "result": [series(number) for number in range(count)]}
    return json.dumps({"status": "success", "data": data, **beside}, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("count", [0, 1, 2, 300, 1500])
def test_stretches_are_all_series_in_their_order_whatever_their_labels_say(count: int) -> None:
    body = answer(count)
    assert list(matrix_of(body)) == json.loads(body)["data"]["result"]


def test_an_answer_of_several_stretches_is_held_whole() -> None:
    body = answer(1500)
    assert len(body) > 3 * STRETCH_BYTES
    held = held_of(body, 0, MS_PER_HOUR)
    assert {stamp: list(keys.values()) for stamp, keys in held.values.items()} == {
        (60 + number) * 1000: [{"0": number + 0.25}] for number in range(1500)
    }
    names = [dict(labels)["node"] for keys in held.values.values() for _, labels in keys]
    assert names == [f"n{number}{CUT}ü" for number in range(1500)]


@pytest.mark.parametrize(
    "body",
    [
        answer(1500, warnings=["a replica is away"]),
        answer(1500, isPartial=True),
        answer(1500).replace(b'"status":"success"', b'"status":"error"'),
        answer(1500)[:-3],
        answer(1500)[: 3 * STRETCH_BYTES],
        answer(1500).replace(b'"7.25"', b'"7.25'),
        answer(1500).replace(b'"7.25"', b'"many"'),
    ],
    ids=["warned", "partial", "failed", "unclosed", "broken off", "unquoted", "no number"],
)
def test_an_answer_that_is_wrong_in_any_stretch_is_malformed_as_a_whole(body: bytes) -> None:
    with pytest.raises(RemoteWriteError) as refused:
        held_of(body, 0, MS_PER_HOUR)
    assert refused.value.cause == "malformed"
