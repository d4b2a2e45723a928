"""PUE from every source: a file read exactly or refused, what clouds publish, and an hour's own ratio of two meters."""

import csv
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.demo.servers import PrometheusBinary, free_port, start_prometheus
from pipeline.errors import ConfigError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.settings import ClusterSettings, HttpSettings, PrometheusEndpoint
from pipeline.sources.grid import yearly
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.servers import Servers
from pipeline.sources.pue import PueAnswer, PueFile, PueQuery, StatedPue, open_pue, published_pue
from pipeline.tables import PUE
from pipeline.window import EPOCH, Window, to_ms
from tests.conftest import RealClock
from tests.misbehaving import NOT_JSON, Answer, failure, misbehaving
from tests.sinks.rows import StillClock
from tests.sinks.servers import real_victoria
from tests.sources.series import fill, push, written

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NOW = datetime(2026, 11, 2, tzinfo=UTC)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HEADER = "start_utc,end_utc,pue_ratio"

# --- a file


def read(tmp_path: Path, text: str) -> list[dict[str, object]]:
    path = tmp_path / "pue.csv"
    path.write_text(text, encoding="utf-8")
    table = PueFile(path, "prod").read(NOW)
    assert table.schema == PUE
    rows: list[dict[str, object]] = table.to_pylist()
    return rows


def test_every_column_of_a_line_is_filled(tmp_path: Path) -> None:
    (row,) = read(
        tmp_path, f"{HEADER},updated_utc\n2026-11-01T00:00+01:00,2026-12-01T00:00Z,1.31,2026-11-01T00:05+01:00\n"
    )
    assert row == {
        "cluster": "prod", "start_utc": datetime(2026, 10, 31, 23, tzinfo=UTC),
        "end_utc": datetime(2026, 12, 1, tzinfo=UTC), "pue_ratio": 1.31, "source": "csv",
        "updated_utc": datetime(2026, 10, 31, 23, 5, tzinfo=UTC), "fetched_utc": NOW,
    }  # fmt: skip


def test_a_file_of_several_clusters_gives_each_its_own(tmp_path: Path) -> None:
    lines = [f"{name},2026-11-01T00:00Z,2026-11-01T01:00Z,{ratio}" for name, ratio in (("prod", 1.2), ("test", 1.4))]
    (row,) = read(tmp_path, "\n".join([f"cluster,{HEADER}", *lines]))
    assert (row["cluster"], row["pue_ratio"]) == ("prod", 1.2)


def test_an_empty_ratio_is_withdrawn_and_bounds_are_taken(tmp_path: Path) -> None:
    lines = [f"2026-11-01T0{n}:00Z,2026-11-01T0{n + 1}:00Z,{text}" for n, text in enumerate(("", "1", "3.0"))]
    assert [row["pue_ratio"] for row in read(tmp_path, "\n".join([HEADER, *lines]))] == [None, 1.0, 3.0]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2026-11-01T00:00,2026-11-01T01:00Z,1.2", "start_utc '2026-11-01T00:00' has no time zone"),
        ("2026-11-01T00:00Z,1st,1.2", "end_utc '1st' is not ISO 8601"),
        ("2026-11-01T01:00Z,2026-11-01T01:00Z,1.2", "a figure holds from one whole UTC hour to a later one"),
        ("2026-11-01T00:30Z,2026-11-01T02:00Z,1.2", "a figure holds from one whole UTC hour"),
        ("2026-11-01T00:00+05:30,2026-11-02T00:00+05:30,1.2", "a figure holds from one whole UTC hour"),
        ("2026-11-01T00:00Z,2026-11-01T01:00Z,0.999,,prod", "a PUE of 0.999 is below 1"),
        ("2026-11-01T00:00Z,2026-11-01T01:00Z,3.01,,prod", "a PUE of 3.01 is not plausible"),
        ("2026-11-01T00:00Z,2026-11-01T01:00Z,nan,,prod", "a PUE of nan is not plausible"),
        ("2026-11-01T00:00Z,2026-11-01T01:00Z,\"1,2\",,prod", "'1,2' is no PUE: write a number such as 1.2"),
        ("2026-11-01T00:00Z,2026-11-01T01:00Z,1,2,prod", "updated_utc '2' is not ISO 8601"),
        ("2026-11-01T00:00Z,2026-11-01T01:00Z,1,,prod,2", "more values than the header has columns"),
        ("2026-11-01T00:00Z,2026-11-01T01:00Z,1,,", "cluster is empty"),
    ],
)  # fmt: skip
def test_a_line_that_is_wrong_is_named(line: str, says: str, tmp_path: Path) -> None:
    good = "2026-10-01T00:00Z,2026-10-01T01:00Z,1.2,,prod"
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"{HEADER},updated_utc,cluster\n{good}\n{line}\n")
    assert f"{tmp_path / 'pue.csv'} line 3: " in str(caught.value)
    assert says in str(caught.value)


def test_a_header_that_is_another_names_the_column_and_a_file_that_is_not_there_itself(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"column 'pue' is missing, unknown or there twice; the header is {HEADER}"):
        read(tmp_path, f"{HEADER},pue\n")
    with pytest.raises(ConfigError, match=r"cannot read the PUE file .*none.csv"):
        PueFile(tmp_path / "none.csv", "prod").read(NOW)


def test_two_figures_for_one_hour_are_refused_unless_one_is_newer(tmp_path: Path) -> None:
    lines = ["2026-11-01T00:00Z,2026-11-02T00:00Z,1.2", "2026-11-01T23:00Z,2026-11-03T00:00Z,1.3"]
    with pytest.raises(ConfigError, match="cluster prod has two figures at 2026-11-01T23:00Z"):
        read(tmp_path, "\n".join([HEADER, *lines]))
    dated = [f"{line},2026-11-0{n + 3}T00:00Z" for n, line in enumerate(lines)]
    assert len(read(tmp_path, "\n".join([f"{HEADER},updated_utc", *dated]))) == 2
    apart = [f"{name},{line}" for name, line in zip(("prod", "test"), lines, strict=True)]
    assert len(read(tmp_path, "\n".join([f"cluster,{HEADER}", *apart]))) == 1


# --- stated


def cluster(pue: object, **place: str) -> ClusterSettings:
    place = place or {"grid_zone": "DE"}
    return ClusterSettings.model_validate({"name": "prod", "prometheus_url": "http://127.0.0.1:9", "pue": pue} | place)


def servers(url: str = "http://127.0.0.1:9", selector: str = "{}") -> Servers[PrometheusServer]:
    endpoint, clock = PrometheusEndpoint(url=url, selector=selector), StillClock()
    return Servers([[PrometheusServer(endpoint, HttpSettings(timeout_seconds=5, retry_seconds=0), {}, clock)]], clock)


def test_a_constant_holds_for_every_hour_and_is_as_old_as_time() -> None:
    stated = open_pue(cluster(1.3), servers())
    assert isinstance(stated, StatedPue)
    (row,) = stated.rows(Window(NOON, NOON + 5 * HOUR)).to_pylist()
    assert (row["start_utc"], row["end_utc"], row["pue_ratio"]) == (NOON, NOON + 5 * HOUR, 1.3)
    assert (row["cluster"], row["source"], row["updated_utc"], row["fetched_utc"]) == ("prod", "config", None, EPOCH)


@pytest.mark.parametrize(
    ("cloud", "region", "ratio", "source", "since"),
    [
        ("aws", "us-east-1", 1.15, "published:aws/us-east-1/2025 (region)", 2025),
        ("gcp", "europe-west3", 1.1, "published:gcp/europe-west3/TTM<=2024-03 (fleet)", 2024),
        ("azure", "westeurope", 1.16, "published:azure/westeurope/undated (geography)", None),
    ],
)
def test_what_a_cloud_publishes_holds_from_its_year_on(
    cloud: str, region: str, ratio: float, source: str, since: int | None
) -> None:
    stated = open_pue(cluster({"published": True}, cloud=cloud, region=region), servers())
    assert isinstance(stated, StatedPue)
    assert (stated.ratio, stated.source) == (ratio, source)
    year = since or 2019
    before, after = datetime(year - 1, 12, 31, 23, tzinfo=UTC), datetime(year, 1, 1, 1, tzinfo=UTC)
    (row,) = stated.rows(Window(before, after)).to_pylist()
    assert (row["start_utc"], row["end_utc"]) == (before if since is None else before + HOUR, after)
    assert stated.rows(Window(before, before + HOUR)).num_rows == (since is None)


def test_every_region_of_the_table_publishes_a_pue() -> None:
    path = Path(yearly.__file__).parents[2] / "data" / "cloud_regions.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 150
    for row in rows:
        stated = published_pue(cluster(1.2, cloud=row["provider"], region=row["region"]))
        assert stated is not None
        assert stated.ratio == float(row["pue"])
        assert stated.source == f"published:{row['provider']}/{row['region']}/{row['pue_year']} ({row['pue_scope']})"
    assert published_pue(cluster(1.2)) is None


def test_a_bad_file_or_expression_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the PUE file"):
        open_pue(cluster({"csv": str(tmp_path / "none.csv")}), servers())
    with pytest.raises(ConfigError, match=r"\$selector stands in braces"):
        open_pue(cluster({"query": "facility_watts$selector"}), servers())


# --- a query

SITE = "sum(avg_over_time(facility_watts{$selector}[1h])) / sum(avg_over_time(it_watts{$selector}[1h]))"


def hourly(*watts: float | None) -> list[tuple[int, float]]:
    """Constant watts in each hour from noon on, sampled at half minutes; None is an hour without samples."""
    return [
        (to_ms(NOON + n * HOUR + m * MINUTE + MINUTE / 2), value)
        for n, value in enumerate(watts)
        if value is not None
        for m in range(60)
    ]


SERIES = {
    written("facility_watts", site="a", feed="1"): hourly(700.0, 800.0, 500.0, None, 2000.0, 1000.0),
    written("facility_watts", site="a", feed="2"): hourly(500.0, 700.0, 400.0, None, 1500.0, 1000.0),
    written("facility_watts", site="b"): hourly(*[9e9] * 6),
    written("it_watts", site="a"): hourly(1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 2000.0),
    written("it_watts", site="b"): hourly(*[1.0] * 6),
    written("dark_watts", site="a"): hourly(0.0, 0.0),
}


@pytest.fixture(scope="module")
def url(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("pue")
    fill(prometheus_binary.promtool, folder / "data", SERIES)
    with start_prometheus(prometheus_binary, folder / "data", free_port(), clock) as running:
        yield running.url


def answer(query: str, url: str, hours: int = 6) -> PueAnswer:
    (only,) = PueQuery(query, "prod", servers(url, '{site="a"}')).fetch(Window(NOON, NOON + hours * HOUR), NOW)
    assert only.rows.schema == PUE
    return only


def ratios(found: PueAnswer) -> dict[int, float | None]:
    """By hours after noon."""
    rows = found.rows.to_pylist()
    assert all(row["end_utc"] - row["start_utc"] == HOUR for row in rows)
    return {(row["start_utc"] - NOON) // HOUR: row["pue_ratio"] for row in rows}


def test_an_hour_gets_the_ratio_of_its_own_means_and_what_is_no_pue_is_no_figure(url: str) -> None:
    found = answer(SITE, url)
    assert ratios(found) == pytest.approx({0: 1.2, 1: 1.5, 2: None, 4: None, 5: 1.0}), "3 has no facility meter: no row"
    assert found.refused == pytest.approx({NOON + 2 * HOUR: 0.9, NOON + 4 * HOUR: 3.5}), "never clamped"


def test_a_row_says_which_expression_gave_it(url: str) -> None:
    first, *_ = answer(SITE.replace(" / ", "\n  / "), url).rows.to_pylist()
    assert first | {"pue_ratio": None} == {
        "cluster": "prod", "start_utc": NOON, "end_utc": NOON + HOUR, "pue_ratio": None, "source": f"query:{SITE}",
        "updated_utc": None, "fetched_utc": NOW,
    }  # fmt: skip


def test_nothing_over_nothing_is_no_figure(url: str) -> None:
    found = answer("sum(avg_over_time(dark_watts[1h])) / sum(avg_over_time(dark_watts[1h]))", url, hours=2)
    assert ratios(found) == {0: None, 1: None}
    assert [math.isnan(value) for value in found.refused.values()] == [True, True]


def test_more_than_one_series_is_an_error_that_says_how_many(url: str) -> None:
    with pytest.raises(SourceMalformed, match=r"the PUE query .* gives 2 series: let it give one, as sum"):
        answer("avg_over_time(facility_watts{$selector}[1h])", url)


def test_no_series_is_no_row(url: str) -> None:
    found = answer("sum(avg_over_time(facility_wats[1h]))", url)
    assert (found.rows.num_rows, found.refused) == (0, {})


def test_a_long_span_is_asked_in_weeks_and_each_hour_once(url: str) -> None:
    window = Window(NOON - 30 * 24 * HOUR, NOON + 6 * HOUR)
    answers = list(PueQuery(SITE, "prod", servers(url, '{site="a"}')).fetch(window, NOW))
    assert len(answers) == 5
    rows = [row for found in answers for row in found.rows.to_pylist()]
    assert [(row["start_utc"] - NOON) // HOUR for row in rows] == [0, 1, 2, 4, 5]


def test_victoria_metrics_gives_the_same(tmp_path: Path, url: str) -> None:
    expected = answer(SITE, url)
    with real_victoria(tmp_path / "data") as store:
        push(store.url, SERIES)
        found = answer(SITE, store.url)
    assert ratios(found) == pytest.approx(ratios(expected))
    assert found.refused == pytest.approx(expected.refused)


@pytest.mark.parametrize(
    ("reply", "error"),
    [(failure(401, "no"), SourceRejected), (failure(400, "parse error"), SourceRejected),
     (failure(503, "no"), SourceUnavailable), (NOT_JSON, SourceMalformed)],
)  # fmt: skip
def test_a_server_that_refuses_is_told_apart(reply: Answer, error: type[Exception]) -> None:
    with misbehaving(reply) as odd, pytest.raises(error):
        answer("up", odd.url)


def test_of_several_servers_the_first_with_an_answer_gives_the_pue(url: str) -> None:
    """Each by its own selector: the first shard scrapes no power meter."""
    clock, http = StillClock(), HttpSettings(timeout_seconds=5, retry_seconds=0)
    endpoints = [
        PrometheusEndpoint(url=url, selector=selector) for selector in ('{site="none"}', '{site="a"}', '{site="b"}')
    ]
    shards = [[PrometheusServer(endpoint, http, {}, clock)] for endpoint in endpoints]
    (only,) = PueQuery(SITE, "prod", Servers(shards, clock)).fetch(Window(NOON, NOON + 6 * HOUR), NOW)
    assert ratios(only) == ratios(answer(SITE, url))
