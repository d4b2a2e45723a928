"""Which transport a server gets is found out by asking it, told with the reason, and changes no figure."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pipeline.demo.fleet import Fleet, churning, mixed, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.doctor import examine
from pipeline.errors import SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.meters import METERS
from pipeline.settings import HttpSettings, PrometheusEndpoint, Settings
from pipeline.site import Site, open_site
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.kernels import NUMPY
from pipeline.transforms.energy import Energy
from pipeline.window import HOUR, Window
from tests.conftest import RealClock
from tests.misbehaving import HISTOGRAM, NOT_JSON, ONE_SERIES, Answer, data, failure
from tests.sources.prometheus.streaming_server import STREAM, streaming
from tests.sources.prometheus.victoria import import_fleet, victoria
from tests.test_additivity import fold_extract, starts_of
from tests.transforms.made import TABLES, differences, joined

START = datetime(2026, 11, 1, 22, tzinfo=UTC)
HOURS = 3
STREAMS = Answer(headers=STREAM)
WITHOUT_LABELS = data(None)
LABELLED = Answer(body=b'{"data":{"yaml":"global:\\n  external_labels:\\n    r: x\\n    s: y\\n"}}')
VALUES = Answer(body=b'{"data":["a","x"]}')


def server(url: str, transport: str = "auto") -> BulkServer:
    endpoint = PrometheusEndpoint.model_validate({"url": url, "transport": transport})
    return BulkServer(endpoint, HttpSettings(timeout_seconds=5, retry_seconds=0), {}, RealClock(), print)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (failure(400, "unsupported path"), "/api/v1/read answers 400"),
        (Answer(404), "/api/v1/read answers 404"),
        (Answer(405), "/api/v1/read answers 405"),
        (Answer(501), "answers 501"),
        (failure(403, "no"), "/api/v1/read answers 403"),
        (failure(503, "busy"), "answers 503: busy"),
        (NOT_JSON, "answers with text/html, not with application/x-streamed-protobuf"),
        (Answer(body=b"\0", headers={"Content-Type": "application/x-protobuf"}), "answers with application/x-protobuf"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else None,
)
def test_a_server_that_does_not_stream_gets_the_query_api_or_is_refused_as_the_config_says(
    answer: Answer, reason: str
) -> None:
    with streaming(answer, Answer(404), ONE_SERIES) as odd:
        auto = server(odd.url)
        assert auto.choice.transport == "query"
        assert reason in auto.choice.reason
        (block,) = auto.blocks("m{}", 0, 2_000_000)
        assert block.values.tolist() == [1.0, 2.5]
        assert [asked.path for asked in odd.asked] == ["/api/v1/read", "/api/v1/export", "/api/v1/query"]
    with streaming(answer) as odd, pytest.raises(SourceError) as caught:
        server(odd.url, "remote_read").blocks("m{}", 0, 2_000_000)
    assert odd.url in str(caught.value)
    if answer.status in (501, 503):
        assert isinstance(caught.value, SourceUnavailable)
    else:
        assert isinstance(caught.value, SourceRejected)
        assert 'set transport = "auto"' in str(caught.value)


def test_the_query_api_is_taken_unasked_where_the_config_says_so() -> None:
    with streaming(ONE_SERIES) as odd:
        chosen = server(odd.url, "query")
        assert chosen.choice == ("query", "the config says so")
        assert [block.labels.num_rows for block in chosen.blocks("m{}", 0, 2_000_000)] == [1]
        assert [asked.path for asked in odd.asked] == ["/api/v1/query"]


def test_what_can_be_done_is_asked_once() -> None:
    with streaming(STREAMS, LABELLED, VALUES, VALUES, STREAMS) as odd:
        one = server(odd.url)
        for _ in range(3):
            assert list(one.blocks("m{}", 0, 1)) == []
        assert one.choice == ("remote_read", "the server streams its chunks")
        paths = [asked.path for asked in odd.asked]
    asked_first = ["/api/v1/read", "/api/v1/status/config", "/api/v1/label/r/values", "/api/v1/label/s/values"]
    assert paths == asked_first + ["/api/v1/read"] * 3
    added = [(len(query.matchers), set(query.added)) for query in one._remote.queries]
    assert added == [(1, {"r", "s"}), (1, {"s"})], "x is a value of r in the store, y is none of s"


@pytest.mark.parametrize("config", [WITHOUT_LABELS, Answer(404), NOT_JSON, Answer(body=b'{"data":{"yaml":"?"}}')])
def test_labels_that_may_be_added_unseen_leave_the_choice_to_the_query_api(config: Answer) -> None:
    with streaming(STREAMS, config) as odd:
        choice = server(odd.url).choice
    assert choice.transport == "query"
    assert "status/config" in choice.reason
    with streaming(STREAMS, config) as odd:
        forced = server(odd.url, "remote_read").choice
        assert forced.transport == "remote_read"
        assert "left as they are" in forced.reason


def test_values_that_cannot_be_listed_may_be_anything() -> None:
    with streaming(STREAMS, LABELLED, failure(400, "no"), NOT_JSON) as odd:
        one = server(odd.url)
        assert one.choice.transport == "remote_read"
        assert len(one._remote.queries) == 4


def test_histograms_that_the_query_api_does_not_give_as_floats_are_an_error() -> None:
    with streaming(HISTOGRAM) as odd, pytest.raises(SourceMalformed):
        list(server(odd.url, "query").blocks("m{}", 0, 2_000_000))


def test_a_victoria_metrics_exports(victoria_metrics: RunningServer) -> None:
    choice = server(victoria_metrics.url).choice
    assert choice == ("export", "the server exports; no streamed remote read: /api/v1/read answers 400")
    assert server(victoria_metrics.url, "export").choice == ("export", "the config says so")
    with pytest.raises(SourceRejected, match=r"no streamed remote read .*: set transport"):
        _ = server(victoria_metrics.url, "remote_read").choice


# every meter, and the promises, over both


@pytest.fixture(scope="module", params=["mixed", "churning"])
def fleet(request: pytest.FixtureRequest) -> Fleet:
    if request.param == "mixed":
        return simulate(mixed(seed=5, start=START, hours=HOURS, pods_per_node=3))
    return simulate(churning(seed=3, start=START, hours=HOURS, nodes=2, pods_per_node=5))


@pytest.fixture(scope="module")
def url(
    fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[str]:
    data_dir = tmp_path_factory.mktemp("fleet") / "data"
    fill_blocks(fleet, prometheus_binary.promtool, data_dir)
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock) as running:
        yield running.url


def settings(url: str, folder: Path, transport: str) -> Settings:
    cluster = {
        "name": "demo", "prometheus": [{"url": url, "transport": transport}], "grid_zone": "DE", "pue": 1.2,
        "gpu_meters": ["dcgm", "kepler", "kepler_legacy"],
    }  # fmt: skip
    return Settings.model_validate({"warehouse": {"path": str(folder)}, "clusters": [cluster]})


def sites(url: str, folder: Path, clock: RealClock) -> dict[str, Site]:
    """By transport; `remote_read` decodes as a default install does, `auto` with all that is installed."""
    found = {t: open_site("demo", settings(url, folder, t), {}, clock) for t in ("query", "remote_read", "auto")}
    found["remote_read"].server._remote._kernels = lambda: NUMPY
    return found


def test_every_meter_folds_to_equal_joules_over_both_transports(
    url: str, fleet: Fleet, tmp_path: Path, clock: RealClock
) -> None:
    found = sites(url, tmp_path, clock)
    meters = set()
    for hour in fleet.spec.window.hours():
        folds = {name: site.fold_meters(Window.of_hour(hour)) for name, site in found.items()}
        for other in ("remote_read", "auto"):
            assert set(folds[other]) == set(folds["query"])
            for meter, fold in folds["query"].items():
                assert differences(fold.energy, folds[other][meter].energy) == [], (hour, meter)
                meters.add(meter)
    assert found["auto"].server.choice.transport == "remote_read"
    assert meters == (set(METERS) if len(meters) > 1 else {"kepler"})


@pytest.fixture(scope="module")
def stored(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same fleet in a VictoriaMetrics."""
    folder = tmp_path_factory.mktemp("stored") / "victoria"
    with victoria(folder, "-dedup.minScrapeInterval=1ms", "-search.latencyOffset=1s") as running:
        import_fleet(running.url, fleet)
        yield running.url


def test_every_meter_folds_to_the_same_joules_whichever_server_and_transport_brings_its_samples(
    url: str, stored: str, fleet: Fleet, tmp_path: Path, clock: RealClock
) -> None:
    ways = [(stored, "export"), (stored, "query"), (stored, "auto"), (url, "query")]
    found = [open_site("demo", settings(where, tmp_path, way), {}, clock) for where, way in ways]
    assert [site.server.choice.transport for site in found] == ["export", "query", "export", "query"]
    rows = 0
    for hour in fleet.spec.window.hours():
        first, *others = [site.fold_meters(Window.of_hour(hour)) for site in found]
        for fold in others:
            assert set(fold) == set(first)
            for meter in first:
                rows += first[meter].energy.rows.num_rows
                assert_same_joules(first[meter].energy, fold[meter].energy)
    assert rows > 0


def assert_same_joules(one: Energy, other: Energy) -> None:
    """To 1e-9: a VictoriaMetrics keeps decimals, so the last bit of a value may differ, and with it that of a rest."""
    for name, key in TABLES:
        order = [(column, "ascending") for column in key]
        tables = [getattr(energy, name).sort_by(order) for energy in (one, other)]
        assert tables[0].num_rows == tables[1].num_rows
        for column in tables[0].column_names:
            left, right = (table[column].to_pylist() for table in tables)
            if isinstance(next((value for value in left if value is not None), None), float):
                left, right = (np.array(cells, dtype=np.float64) for cells in (left, right))
                np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9, err_msg=column)
            else:
                assert left == right, column


def test_p1_and_p2_hold_over_remote_read(url: str, fleet: Fleet, tmp_path: Path, clock: RealClock) -> None:
    transport = sites(url, tmp_path, clock)["remote_read"].server
    first, started_ms = fleet.spec.window.start, starts_of(transport)
    whole = fold_extract(transport, fleet.spec.window, 60, started_ms)
    edges = [first + HOUR * hour for hour in range(HOURS + 1)]
    parts = [fold_extract(transport, Window(*edge), 60, started_ms) for edge in pairwise(edges)]
    assert whole.rows.num_rows > 0
    assert differences(whole, joined(parts[::-1])) == []
    assert_conserved(whole)


def assert_conserved(energy: Energy) -> None:
    keys = ["hour_utc", "node", "component"]
    rows = energy.rows.to_pandas().groupby(keys, dropna=False)["energy_joules"].sum()
    metered = energy.nodes.to_pandas().set_index(keys)["metered_joules"]
    assert len(metered) > 0
    for place, joules in metered.items():
        assert rows[place] == pytest.approx(joules, rel=1e-9), place


def test_the_doctor_says_which_transport_a_cluster_gets_and_why(url: str, tmp_path: Path, clock: RealClock) -> None:
    for transport, told in [("auto", "remote_read: the server streams"), ("query", "query: the config says so")]:
        config = settings(url, tmp_path, transport)
        texts = [finding.text for finding in examine(config, config.clusters, {}, clock)]
        assert any(text.startswith(f"samples come by {told}") for text in texts), texts
