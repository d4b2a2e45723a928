"""Remote read gives what the query API gives, bit by bit, on real servers."""

import struct
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from pipeline.demo.fleet import Fleet, FleetSpec, mixed, outages, restarting, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.samples import Transport
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.selectors import Matcher, selector
from tests.conftest import RealClock
from tests.sources.prometheus.chunk_writer import bits_of, field, number
from tests.sources.prometheus.remotely import Held, both, by_query
from tests.sources.prometheus.test_api_client import HOSTILE, SERIES, T0
from tests.sources.series import fill, read_back, written

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
HOUR_MS = 3_600_000
STALE = 0x7FF0000000000002
KINDS = {"mixed": mixed, "restarting": restarting, "outages": outages}
Exact = dict[tuple[tuple[str, str], ...], list[tuple[int, str]]]


def exact(transport: Transport, asked: str, start_ms: int, end_ms: int) -> Exact:
    found = read_back(transport, asked, start_ms, end_ms)
    return {labels: [(stamp, value.hex()) for stamp, value in samples] for labels, samples in found.items() if samples}


def assert_same(url: str, asked: str, start_ms: int, end_ms: int) -> Exact:
    server, warnings = both(url)
    found = exact(server, asked, start_ms, end_ms)
    assert server.choice.transport == "remote_read"
    assert found == exact(by_query(url), asked, start_ms, end_ms)
    assert warnings == []
    return found


def write(url: str, asked: dict[str, str], samples: list[tuple[int, int]]) -> None:
    """Append bits to a series by remote write."""
    labels = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in sorted(asked.items()))
    values = b"".join(field(2, b"\x09" + struct.pack("<Q", bits) + number(2, ms)) for ms, bits in samples)
    body = pa.compress(field(1, labels + values), codec="snappy", asbytes=True)
    answer = httpx.post(f"{url}/api/v1/write", content=body, headers={"Content-Encoding": "snappy"}, trust_env=False)
    assert answer.status_code == 204, answer.text


@pytest.fixture(scope="module", params=sorted(KINDS))
def fleet(request: pytest.FixtureRequest) -> Fleet:
    spec: FleetSpec = KINDS[request.param](5, START, 3)
    return simulate(spec)


@pytest.fixture(scope="module")
def fleet_url(
    fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[str]:
    data_dir = tmp_path_factory.mktemp("fleet") / "data"
    fill_blocks(fleet, prometheus_binary.promtool, data_dir)
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock) as running:
        yield running.url


def test_every_metric_of_a_fleet_is_the_same_by_both_transports(fleet: Fleet, fleet_url: str) -> None:
    start_ms = fleet.spec.start_ms
    for metric in sorted({str(block.labels["__name__"][0]) for block in fleet.blocks()}):
        whole = assert_same(fleet_url, f"{metric}{{}}", start_ms - 600_001, start_ms + 4 * HOUR_MS)
        part = assert_same(fleet_url, f"{metric}{{}}", start_ms + 1_234_567, start_ms + HOUR_MS + 7)
        assert whole
        assert sum(map(len, part.values())) < sum(map(len, whole.values()))


LONG = [(T0 + 15_000 * i + i % 3, i * 7.654321 if i % 50 else 0.0) for i in range(1_000)]


@pytest.fixture(scope="module")
def store(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    """Blocks of promtool and a head that was written to, in and out of order."""
    folder = tmp_path_factory.mktemp("store")
    fill(prometheus_binary.promtool, folder / "data", SERIES | {written("long", zone="x"): LONG})
    with start_prometheus(prometheus_binary, folder / "data", free_port(), clock) as running:
        now = T0 + 20 * HOUR_MS
        ordered = [(now + 30_000 * i, bits_of(i * 1.1)) for i in range(500)]
        write(running.url, {"__name__": "late", "s": "ordered"}, ordered)
        write(running.url, {"__name__": "late", "s": "mixed"}, ordered[300:])
        write(running.url, {"__name__": "late", "s": "mixed"}, [(ms + 11, bits) for ms, bits in ordered[:350:3]])
        write(running.url, {"__name__": "late", "s": "mixed"}, [(ms + 7, bits) for ms, bits in ordered[250:330]])
        write(running.url, {"__name__": "late", "s": "repeated"}, ordered[300:])
        write(running.url, {"__name__": "late", "s": "repeated"}, [(ms, bits + 1) for ms, bits in ordered[290:330]])
        gone = [ordered[0], ordered[1], (ordered[2][0], STALE), ordered[3], (ordered[4][0], STALE)]
        write(running.url, {"__name__": "late", "s": "gone"}, gone)
        write(running.url, {"__name__": "late", "s": "only marks"}, [(ordered[4][0], STALE)])
        write(running.url, {"__name__": "late", "s": "nan"}, [(now, 0x7FF8000000000001), (now + 1, bits_of(-0.0))])
        yield running


@pytest.mark.parametrize("name", ["joules", "bare", "stepped", "mixed", "long", "late", "no_such_metric"])
def test_series_of_blocks_and_of_a_head_written_in_any_order_are_the_same(name: str, store: RunningServer) -> None:
    for start_ms, end_ms in [
        (T0 - HOUR_MS, T0 + 40 * HOUR_MS),
        (T0 + 1, T0 + 999),
        (T0 + 20 * HOUR_MS, T0 + 21 * HOUR_MS),
    ]:
        assert_same(store.url, f"{name}{{}}", start_ms, end_ms)


def test_a_series_of_many_chunks_is_one_row_with_all_its_samples(store: RunningServer) -> None:
    server, _ = both(store.url)
    (block,) = server.blocks("long{}", T0, T0 + 10 * HOUR_MS)
    assert block.offsets.tolist() == [0, 1_000]
    assert list(zip(block.stamps_ms.tolist(), block.values.tolist(), strict=True)) == LONG


def test_stale_marks_and_series_of_nothing_else_are_not_there(store: RunningServer) -> None:
    server, _ = both(store.url)
    found = read_back(server, "late{}", T0, T0 + 40 * HOUR_MS)
    assert (("s", "only marks"),) not in found
    assert len(found[(("s", "gone"),)]) == 3
    assert len(found[(("s", "mixed"),)]) == 200 + 117 + 80


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_label_value_finds_its_own_series_only(name: str, store: RunningServer) -> None:
    own = HOSTILE.index(name)
    equal = assert_same(store.url, selector("hostile", Matcher("name", "=", name)), T0, T0 + 1_000)
    assert list(equal) == [(("n", str(own)), ("name", name))]
    other = assert_same(store.url, selector("hostile", Matcher("name", "!=", name)), T0, T0 + 1_000)
    assert len(other) == len(HOSTILE) - 1


@pytest.mark.parametrize(
    "matchers", ['b=""', 'b!=""', 'a=~"1|2",b="x"', 'a!~"1"', 'a=~".+"', '__name__=~"mixed|bare"', 'a=~""']
)
def test_matchers_mean_what_they_mean_in_a_query(matchers: str, store: RunningServer) -> None:
    asked = f"{{{matchers}}}" if "__name__" in matchers else f"mixed{{{matchers}}}"
    assert_same(store.url, asked, T0, T0 + 10_000)


EXTERNAL = {"zone": "package", "a": "1", "replica": "0", "b": "z"}


@pytest.fixture
def labelled(
    prometheus_binary: PrometheusBinary, tmp_path: Path, clock: RealClock
) -> Iterator[tuple[RunningServer, Path]]:
    fill(prometheus_binary.promtool, tmp_path / "data", SERIES)
    with start_prometheus(prometheus_binary, tmp_path / "data", free_port(), clock) as running:
        yield running, tmp_path / "data" / "prometheus.yml"


def configure(running: RunningServer, config: Path, external: dict[str, str]) -> None:
    """Give the running server external labels."""
    text = "".join(f"    {name}: {value!r}\n" for name, value in external.items())
    config.write_text("global:\n  external_labels:\n" + text)
    running.process.send_signal(1)
    deadline = RealClock().monotonic() + 20
    while list(external)[-1] not in httpx.get(f"{running.url}/api/v1/status/config", trust_env=False).text:
        assert RealClock().monotonic() < deadline
        threading.Event().wait(0.02)


def test_labels_that_the_server_adds_are_taken_off_and_never_a_series_own(
    labelled: tuple[RunningServer, Path],
) -> None:
    running, config = labelled
    configure(running, config, EXTERNAL)
    for asked in ("joules{}", 'joules{zone="package"}', 'joules{zone!="package"}', "mixed{}", 'mixed{a="1"}',
                  'mixed{b=""}', 'mixed{b="z"}', 'bare{replica="0"}', "bare{}", 'bare{replica=""}'):  # fmt: skip
        assert_same(running.url, asked, T0 - HOUR_MS, T0 + HOUR_MS)
    server, _ = both(running.url)
    assert list(read_back(server, "joules{}", T0, T0 + HOUR_MS)) == [(("zone", "package"),)]


def test_external_labels_that_cannot_be_read_leave_the_choice_to_the_query_api(
    labelled: tuple[RunningServer, Path],
) -> None:
    running, config = labelled
    configure(running, config, {"a": "x" * 200 + " " + "y" * 200, "z": "1"})
    server, _ = both(running.url, transport="auto")
    assert server.choice.transport == "query"
    assert "status/config" in server.choice.reason
    assert exact(server, "mixed{}", T0, T0 + HOUR_MS) == exact(by_query(running.url), "mixed{}", T0, T0 + HOUR_MS)


SELECTORS = ("joules{}", 'mixed{a="1"}', "no_such_metric{}", "mixed{}", "bare{}", 'mixed{b="z"}')


def assert_together(server: BulkServer, selectors: Sequence[str], start_ms: int, end_ms: int) -> None:
    """Each selector's answer is what it is alone, whatever is asked for beside it."""
    found = server.together(selectors, start_ms, end_ms)
    assert found is not None
    for one, blocks in zip(selectors, found, strict=True):
        assert exact(Held(blocks), one, start_ms, end_ms) == exact(server, one, start_ms, end_ms)


def test_several_selectors_of_one_request_have_each_its_own_series(store: RunningServer) -> None:
    server, _ = both(store.url)
    assert_together(server, [*SELECTORS, "late{}", "long{}"], T0 - HOUR_MS, T0 + 40 * HOUR_MS)
    assert_together(server, [*SELECTORS, "late{}", "long{}"], T0 + 20 * HOUR_MS, T0 + 21 * HOUR_MS)


def test_of_several_selectors_labels_that_the_server_adds_are_taken_off_as_of_one(
    labelled: tuple[RunningServer, Path],
) -> None:
    running, config = labelled
    configure(running, config, EXTERNAL)
    server, _ = both(running.url)
    assert_together(server, [*SELECTORS, 'bare{replica="0"}', 'mixed{b=""}'], T0 - HOUR_MS, T0 + HOUR_MS)
