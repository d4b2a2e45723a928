"""Servers that answer as each product documents it get the transport that they can do, and only whole answers count.

Prometheus and VictoriaMetrics are tested for real elsewhere. What stands here of the others is from their
documentation, code and issues: Thanos' querier registers neither remote read nor `status/config` (thanos #1128,
`pkg/api/query/v1.go`); Mimir streams chunks (`pkg/querier/remote_read.go`) and has its `status/config` elsewhere;
Amazon's service has queries and nothing to read in bulk; Google's front ends refuse parameters that they do not know.
"""

import json
from collections.abc import Callable

import pytest

from pipeline.errors import SourceRejected, SourceUnavailable
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.particulars import WHOLE
from tests.conftest import RealClock
from tests.misbehaving import JSON, ONE_SERIES, Answer, Asked, data, failure, misbehaving
from tests.sources.prometheus.streaming_server import STREAM
from tests.sources.series import read_back

Product = Callable[[Asked], Answer]
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
NOT_FOUND = Answer(404, b"404 page not found\n", TEXT)
LOADED = {(("zone", "package"),): [(1_000_000, 1.0), (1_000_500, 2.5)]}


def product(others: Answer, **known: Answer) -> Product:
    """By the last part of the path; queries are answered."""

    def decide(asked: Asked) -> Answer:
        page = asked.path.removeprefix("/prometheus").removeprefix("/api/v1/").replace("/", "_")
        return known.get(page, ONE_SERIES if page == "query" else others)

    return decide


def google(asked: Asked) -> Answer:
    if asked.path != "/api/v1/query":
        return Answer(404, b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", {"Content-Type": "text/html"})
    unknown = next((name for name in asked.parameters if name not in ("query", "time", "timeout")), None)
    if unknown is None:
        return ONE_SERIES
    message = f'Invalid JSON payload received. Unknown name "{unknown}": Cannot bind query parameter.'
    document = {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
    return Answer(400, json.dumps(document).encode(), {"Content-Type": JSON})


UNKNOWN_OPERATION = Answer(404, b"<UnknownOperationException/>\n")
LINES = Answer(headers={"Content-Type": "application/stream+json; charset=utf-8"})
PRODUCTS: dict[str, tuple[Product, str, str]] = {
    "Thanos": (product(NOT_FOUND), "query", "/api/v1/read answers 404; no export: /api/v1/export answers 404"),
    "Thanos behind a proxy of remote read": (
        product(NOT_FOUND, read=Answer(body=b"\0", headers={"Content-Type": "application/x-protobuf"})),
        "query", "answers with application/x-protobuf",
    ),
    "Mimir": (product(NOT_FOUND, read=Answer(headers=STREAM)), "query", "/api/v1/status/config does not tell"),
    "Cortex": (product(NOT_FOUND, read=failure(400, "no")), "query", "/api/v1/read answers 400"),
    "Amazon": (product(UNKNOWN_OPERATION), "query", "/api/v1/read answers 404"),
    "Google": (google, "query", "/api/v1/read answers 404"),
    "Prometheus": (
        product(NOT_FOUND, read=Answer(headers=STREAM), status_config=data(None), query=ONE_SERIES), "query", "config",
    ),
    "VictoriaMetrics' cluster": (
        product(failure(400, "unsupported path requested"), export=LINES), "export", "the server exports",
    ),
}  # fmt: skip


def connect(url: str, transport: str = "auto", told: list[str] | None = None) -> BulkServer:
    endpoint = PrometheusEndpoint.model_validate({"url": url, "transport": transport})
    hear = pytest.fail if told is None else told.append
    return BulkServer(endpoint, HttpSettings(timeout_seconds=5, retry_seconds=0), {}, RealClock(), hear)


@pytest.mark.parametrize(
    ("prefix", "answers", "transport", "reason"),
    [
        pytest.param(prefix, *expected, id=f"{name}{prefix}")
        for name, expected in PRODUCTS.items()
        for prefix in (("",) if expected[0] is google else ("", "/prometheus"))  # whose prefix is part of its address
    ],
)
def test_each_product_gets_what_it_can_do_with_the_reason(
    prefix: str, answers: Product, transport: str, reason: str
) -> None:
    with misbehaving(decide=answers) as server:
        one = connect(server.url + prefix)
        assert one.choice.transport == transport
        assert reason in one.choice.reason
        if transport == "query":
            assert read_back(one, "m{}", 0, 2_000_000) == LOADED
            assert all(asked.path.startswith(prefix + "/api/v1/") for asked in server.asked)


def test_a_mimir_streams_where_the_config_insists() -> None:
    with misbehaving(decide=PRODUCTS["Mimir"][0]) as server:
        choice = connect(server.url + "/prometheus", "remote_read").choice
    assert choice.transport == "remote_read"
    assert "left as they are" in choice.reason


def test_raw_samples_are_asked_for_whole_and_never_downsampled() -> None:
    with misbehaving(decide=PRODUCTS["Thanos"][0]) as server:
        one = connect(server.url, "query")
        list(one.blocks("m{}", 0, 2_000_000))
        one.status("buildinfo")
    parameters = server.asked[0].parameters
    assert {name: parameters[name] for name in WHOLE} == WHOLE
    assert WHOLE["max_source_resolution"] == "0s"
    assert WHOLE["partial_response"] == "false"


def test_parameters_that_a_server_refuses_by_name_are_left_out_from_then_on() -> None:
    with misbehaving(decide=google) as server:
        one = connect(server.url, "query")
        assert read_back(one, "m{}", 0, 2_000_000) == LOADED
        assert read_back(one, "m{}", 0, 2_000_000) == LOADED
        assert len(one._query("m", 0)) == 1
    asked = [sorted(set(asked.parameters) - {"query", "time"}) for asked in server.asked]
    assert asked == [sorted(WHOLE), [], [], []]


def test_a_refusal_that_names_no_parameter_is_not_asked_about_again() -> None:
    with misbehaving(failure(400, "parse error")) as server, pytest.raises(SourceRejected, match="parse error"):
        list(connect(server.url, "query").blocks("m{}", 0, 2_000_000))
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "warning",
    ["receive series from Addr: store-1:10901: rpc error: code = Unavailable", "remote_read: server returned 500"],
)
def test_an_answer_with_a_warning_about_what_is_missing_is_none(warning: str) -> None:
    partial = data([{"metric": {}, "values": [[1000, "1"]]}], warnings=[warning])
    with misbehaving(partial) as server, pytest.raises(SourceUnavailable) as caught:
        list(connect(server.url, "query").blocks("m{}", 0, 2_000_000))
    assert f"{server.url} answers in part only: {warning}" in str(caught.value)


def test_a_remark_about_a_query_is_told_and_its_answer_counts() -> None:
    remark = "PromQL info: metric might not be a counter"
    told: list[str] = []
    with misbehaving(data([{"metric": {}, "values": [[1000, "1"]]}], warnings=[remark])) as server:
        assert read_back(connect(server.url, "query", told), "m{}", 0, 2_000_000) == {(): [(1_000_000, 1.0)]}
    assert told == [remark]
