"""What a server does not give at once is asked for in parts, and nobody notices: not a sample, not a joule."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, free_port, start_prometheus
from pipeline.demo.transport import FleetTransport
from pipeline.errors import SourceRejected
from pipeline.samples import Block, Transport
from pipeline.settings import Settings
from pipeline.site import Site, open_site
from pipeline.sources.prometheus.limits import Limit, TooMuchError
from pipeline.sources.prometheus.splitting import HALVES, LEAST_MS, Part, Splitting
from pipeline.window import Window
from tests.conftest import RealClock
from tests.sinks.servers import RealStore
from tests.sources.prometheus.limited import HOUR_MS, PODS, prometheus, server, span
from tests.sources.prometheus.test_api_client import T0
from tests.sources.prometheus.victoria import import_fleet, victoria
from tests.sources.series import fill, read_back, written

# a real Prometheus


@pytest.fixture(scope="module")
def blocks_dir(fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("limited") / "data"
    fill_blocks(fleet, prometheus_binary.promtool, data_dir)
    return data_dir


@pytest.fixture(scope="module")
def strict(blocks_dir: Path) -> Iterator[RealStore]:
    with prometheus(blocks_dir, "--query.max-samples=300") as running:
        yield running


def test_a_prometheus_with_a_limit_of_samples_gives_them_all_in_parts(
    strict: RealStore, fleet: Fleet, held: FleetTransport
) -> None:
    loaded = read_back(held, PODS, *span(fleet))
    assert sum(len(samples) for samples in loaded.values()) > 3_000
    one = server(strict.url)
    with pytest.raises(TooMuchError, match="would load too many samples"):
        list(one._raw.blocks(PODS, *span(fleet)))
    assert read_back(one, PODS, *span(fleet)) == loaded


def test_joules_of_a_limited_prometheus_are_those_of_an_unlimited_one(
    strict: RealStore,
    fleet: Fleet,
    blocks_dir: Path,
    tmp_path: Path,
    clock: RealClock,
    prometheus_binary: PrometheusBinary,
) -> None:
    def site(url: str) -> Site:
        endpoint = {"url": url, "transport": "query"}
        cluster = {"name": "demo", "prometheus": [endpoint], "grid_zone": "DE", "pue": 1.2}
        settings = Settings.model_validate({"warehouse": {"path": str(tmp_path)}, "clusters": [cluster]})
        return open_site("demo", settings, {}, clock)

    copy = tmp_path / "data"
    fill_blocks(fleet, prometheus_binary.promtool, copy)
    with start_prometheus(prometheus_binary, copy, free_port(), clock) as unlimited:
        one, other = site(strict.url), site(unlimited.url)
        for hour in fleet.spec.window.hours():
            window = Window.of_hour(hour)
            split, whole = (it.fold_meters(window)["kepler"].energy for it in (one, other))
            assert split.rows.num_rows > 0
            assert split.rows.equals(whole.rows)
            assert split.nodes.equals(whole.nodes)


def test_remote_read_is_cut_where_an_answer_is_larger_than_allowed(
    tmp_path: Path, prometheus_binary: PrometheusBinary, clock: RealClock
) -> None:
    rng = np.random.default_rng(3)
    series = {
        written("noise", n=str(number)): list(
            zip(range(T0, T0 + 3 * HOUR_MS, 5_000), rng.random(3 * 720).tolist(), strict=True)
        )
        for number in range(90)
    }
    fill(prometheus_binary.promtool, tmp_path / "data", series)
    with start_prometheus(prometheus_binary, tmp_path / "data", free_port(), clock) as running:
        one = server(running.url, "remote_read", max_response_mb=1)
        with pytest.raises(SourceRejected, match=r"raise http\.max_response_mb"):
            list(one._remote.blocks("noise{}", T0, T0 + 3 * HOUR_MS))
        found = read_back(one, "noise{}", T0, T0 + 3 * HOUR_MS)
    assert {int(dict(labels)["n"]): samples for labels, samples in found.items()} == dict(enumerate(series.values()))


# a real VictoriaMetrics


@pytest.mark.parametrize(
    ("flags", "transport"),
    [
        (["-search.maxSamplesPerQuery=2000"], "query"),
        (["-search.maxSamplesPerQuery=2000"], "export"),
        (["-search.maxUniqueTimeseries=10", "-search.maxExportSeries=10"], "query"),
        (["-search.maxUniqueTimeseries=10", "-search.maxExportSeries=10"], "export"),
    ],
)
def test_a_victoria_metrics_with_limits_gives_all_in_parts(
    flags: list[str], transport: str, fleet: Fleet, held: FleetTransport, tmp_path: Path
) -> None:
    loaded = read_back(held, PODS, *span(fleet))
    assert len(loaded) > 10
    with victoria(tmp_path / "victoria", *flags) as strict:
        import_fleet(strict.url, fleet)
        one = server(strict.url, transport)
        way = one._export if transport == "export" else one._raw
        with pytest.raises(TooMuchError) as caught:
            list(way.blocks(PODS, *span(fleet)))
        assert caught.value.limit.of == ("size" if "Samples" in flags[0] else "series")
        found = read_back(one, PODS, *span(fleet))
    assert {labels: [stamp for stamp, _ in samples] for labels, samples in found.items()} == {
        labels: [stamp for stamp, _ in samples] for labels, samples in loaded.items()
    }
    for labels, samples in found.items():
        assert [value for _, value in samples] == pytest.approx([value for _, value in loaded[labels]], rel=1e-12)


# parts


@pytest.mark.parametrize("most_ms", [1, 2, 7, 999, 1_000, 1_001, 5_000, math.inf])
def test_parts_hold_every_stamp_once_in_order_and_none_is_longer_than_wanted(most_ms: float) -> None:
    parts = Part("m{}", 10, 1_009).cut(most_ms)
    assert [stamp for part in parts for stamp in range(part.start_ms, part.end_ms + 1)] == list(range(10, 1_010))
    assert max(part.size_ms for part in parts) <= most_ms


def test_series_are_shared_out_whatever_their_labels_are(held: FleetTransport, fleet: Fleet) -> None:
    whole = read_back(held, PODS, *span(fleet))
    parts = [Part(PODS, *span(fleet))]
    for _ in HALVES:
        parts = [half for part in parts for half in (part.halves() if len(parts) < 64 else [part])]
    found = [read_back(held, part.selector, part.start_ms, part.end_ms) for part in parts]
    assert sum(len(one) for one in found) == len(whole)
    assert {labels: samples for one in found for labels, samples in one.items()} == whole
    assert max(len(one) for one in found) < len(whole) / 3
    assert Part('m{a="b"}', 0, 1).halves()[1].selector.startswith('m{a="b",pod_id!~"(?s:.*)[')


def test_what_was_given_before_a_part_broke_off_is_not_given_again(held: FleetTransport, fleet: Fleet) -> None:
    calls: list[int] = []

    def breaks_off(selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        calls.append(end_ms - start_ms)
        blocks = [
            block
            for number in range(2)
            for block in held.blocks(f'{PODS[:-1]}zone=~"{"dp"[number]}.*"}}', start_ms, end_ms)
        ]
        yield blocks[0]
        if len(calls) < 3:
            raise TooMuchError("too much", Limit("too much", "", "size"))
        yield from blocks[1:]

    class Broken:
        def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
            return Splitting("http://x", 1 << 40).blocks(breaks_off, selector, start_ms, end_ms)

    transport: Transport = Broken()
    assert read_back(transport, PODS, *span(fleet)) == read_back(held, PODS, *span(fleet))
    assert len(calls) > 3


def test_the_rest_of_a_series_that_was_given_in_part_is_not_lost() -> None:
    """A store may come back to a series later in its answer, which may break off before that."""
    labels = pa.table({"pod": ["a"]})
    stamps_ms = np.arange(0, 4 * LEAST_MS, LEAST_MS // 2)
    calls: list[int] = []

    def breaks_off(_selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        calls.append(end_ms - start_ms)
        own = stamps_ms[(stamps_ms >= start_ms) & (stamps_ms <= end_ms)]
        for part in (own[: len(own) // 2], own[len(own) // 2 :]):
            if len(part):
                yield Block(labels, np.array([0, len(part)]), part, part / 7)
            if len(calls) == 1:
                raise TooMuchError("too much", Limit("too much", "", "size"))

    found = list(Splitting("http://x", 1 << 40).blocks(breaks_off, "m{}", 0, 4 * LEAST_MS))
    assert np.concatenate([block.stamps_ms for block in found]).tolist() == stamps_ms.tolist()
    assert len(calls) > 1
