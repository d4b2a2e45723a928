"""The configuration: every key, every way to override it, and every mistake named."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load
from pipeline.errors import ConfigError
from tests.config_texts import FULL, SMALL, read

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
STORE = SMALL + '[[remote_write]]\nurl = "http://a"\n'


def test_every_key_is_read(tmp_path: Path) -> None:
    settings = read(tmp_path, FULL)
    eu, us = settings.clusters
    assert settings.warehouse.path == "/data/warehouse"
    endpoint = eu.prometheus[0]
    assert (endpoint.url, endpoint.selector) == ("http://127.0.0.1:9090/prefix", '{cluster="prod-eu"}')
    assert (endpoint.replica_of, endpoint.username, endpoint.password_env) == ("a", "reader", "PASSWORD")
    assert (eu.grid_zone, eu.pue, eu.meters, eu.energy_step, eu.step_minutes) == ("DE", 1.2, ("kepler",), "15m", 15)
    assert eu.start == NOVEMBER
    assert (us.prometheus[0].url, us.cloud, us.region) == ("https://prometheus.example:9090", "aws", "us-east-1")
    assert us.energy_step == "1h"
    assert us.start is None
    first, second = settings.remote_write
    assert (first.name, first.query_url, first.horizon) == (
        "dashboards", "http://127.0.0.1:8481/select/0", timedelta(days=30),
    )  # fmt: skip
    assert first.bearer_token_file == Path("/run/secrets/token")
    assert (second.name, second.query_url) == ("store.example-9090", "http://Store.Example:9090")
    assert settings.energy.max_gap_ms == 300_000
    assert settings.energy.settle == timedelta(minutes=7)
    assert (settings.publish.max_series, settings.publish.horizon) == (100, timedelta(hours=2))
    http = settings.http
    assert (http.timeout_seconds, http.retry_seconds, http.max_response_mb, http.concurrency) == (3.5, 0, 64, 2)


def test_a_clusters_intensity_replaces_providers_and_merges_the_rest(tmp_path: Path) -> None:
    eu, us = (cluster.intensity for cluster in read(tmp_path, FULL).clusters)
    assert (eu.providers, us.providers) == (("csv",), ("static",))
    assert eu.accept == us.accept == "forecast"
    assert eu.csv is not None
    assert eu.csv.path == Path("grid.csv")


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    settings = read(tmp_path, SMALL)
    assert (settings.warehouse.path, settings.remote_write) == ("warehouse", ())
    assert (settings.energy.max_gap, settings.energy.settle) == (timedelta(minutes=10), timedelta(minutes=12))
    assert (settings.publish.max_series, settings.http.timeout_seconds, settings.http.retry_seconds) == (20_000, 30, 60)
    (cluster,) = settings.clusters
    assert (cluster.energy_step, cluster.prometheus[0].selector) == ("1h", "{}")
    assert (cluster.intensity.factor_type, cluster.intensity.accept) == ("lifecycle", "estimated")


@pytest.mark.parametrize(
    ("variable", "text", "path", "expected"),
    [
        ("CARBON_ETL__WAREHOUSE__PATH", "/other place", "warehouse.path", "/other place"),
        ("CARBON_ETL__WAREHOUSE__PATH", '"/quoted"', "warehouse.path", "/quoted"),
        ("CARBON_ETL__ENERGY__MAX_GAP", "90s", "energy.max_gap", timedelta(seconds=90)),
        ("CARBON_ETL__HTTP__TIMEOUT_SECONDS", "2.5", "http.timeout_seconds", 2.5),
        ("CARBON_ETL__PUBLISH__MAX_SERIES", "7", "publish.max_series", 7),
        ("CARBON_ETL__INTENSITY__PROVIDERS", '["csv", "static"]', "intensity.providers", ("csv", "static")),
        ("CARBON_ETL__INTENSITY__CSV__PATH", "/x.csv", "clusters.1.intensity.csv.path", Path("/x.csv")),
        ("CARBON_ETL__CLUSTERS__PROD_EU__PUE", "1.5", "clusters.0.pue", 1.5),
        ("CARBON_ETL__CLUSTERS__PROD_US__REGION", "eu-central-1", "clusters.1.region", "eu-central-1"),
        ("CARBON_ETL__CLUSTERS__PROD_US__START", "2026-11-01T00:00Z", "clusters.1.start", NOVEMBER),
        ("CARBON_ETL__CLUSTERS__PROD_EU__INTENSITY__ACCEPT", "measured", "clusters.0.intensity.accept", "measured"),
        ("CARBON_ETL__REMOTE_WRITE__DASHBOARDS__HORIZON", "3d", "remote_write.0.horizon", timedelta(days=3)),
        ("CARBON_ETL__REMOTE_WRITE", "[]", "remote_write", ()),
    ],
)  # fmt: skip
def test_any_key_is_overridden_by_its_variable(
    variable: str, text: str, path: str, expected: object, tmp_path: Path
) -> None:
    found: Any = read(tmp_path, FULL, **{variable: text})
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    assert found == expected
    before: Any = read(tmp_path, FULL)
    assert before != read(tmp_path, FULL, **{variable: text}), "the variable makes the difference"


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("CARBON_ETL__CLUSTERS__PROD_UK__PUE", "0 entries are named 'prod_uk', need exactly one of PROD_EU, PROD_US"),
        ("CARBON_ETL__CLUSTERS__PROD_EU", "'prod_eu' is a table; name one of its keys after two underscores"),
        ("CARBON_ETL__WAREHOUSE__PATH__DEEPER", "'path' is a value, nothing lies under it"),
        ("CARBON_ETL__WAREHOSE__PATH", "unknown key warehose: did you mean 'warehouse'?"),
        ("CARBON_ETL__HTTP__TIMEOUTSECONDS", "unknown key http.timeoutseconds: did you mean 'timeout_seconds'?"),
        ("CARBON_ETL__", "unknown key"),
    ],
)
def test_a_variable_that_fits_nothing_is_never_ignored(variable: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, FULL, **{variable: "1"})
    assert says in str(caught.value)


def test_other_variables_are_none_of_ours(tmp_path: Path) -> None:
    assert read(tmp_path, SMALL, CARBON_ETL_CONFIG="x", CARBON="y", PATH="z") == read(tmp_path, SMALL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("60s", 60), ("90s", 90), ("10m", 600), ("1h", None), ("31m", None), ("30m", 1800)],
)
def test_durations_have_one_unit(text: str, expected: int | None, tmp_path: Path) -> None:
    energy = f'{SMALL}\n[energy]\nmax_gap = "{text}"\nsettle = "1d"'
    if expected is None:
        with pytest.raises(ConfigError, match="between 1m and 30m"):
            read(tmp_path, energy)
    else:
        assert read(tmp_path, energy).energy.max_gap == timedelta(seconds=expected)


@pytest.mark.parametrize("text", ['"10"', '"1h30m"', '"-5m"', '"5 m"', '""', "600", "true", '"5M"'])
def test_what_is_no_duration_is_refused_with_examples(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"energy\.max_gap: .*is not a duration: write 30s, 10m, 1h or 30d"):
        read(tmp_path, f"{SMALL}\n[energy]\nmax_gap = {text}")


@pytest.mark.parametrize(
    "start", ["2026-11-01T00:00:00", "2026-11-01", '"2026-11-01T00:00"', '"2026-11-01"'], ids=lambda text: text
)
def test_a_start_without_a_zone_is_refused(start: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no time zone"):
        read(tmp_path, f"{SMALL}\nstart = {start}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "clusters is missing: write one [[clusters]] table per cluster"),
        ("clusters = []", "clusters: "),
        (SMALL + SMALL, "cluster name used twice: prod-eu"),
        (STORE + '[[remote_write]]\nurl = "http://a"\n', "store name used twice: a"),
        (SMALL + 'cloud = "aws"', "say where its power comes from"),
        (SMALL.replace('grid_zone = "DE"', ""), "say where its power comes from"),
        (SMALL.replace('grid_zone = "DE"', 'cloud = "aws"'), "cloud and region go together"),
        (SMALL.replace('grid_zone = "DE"', 'cloud = "ibm"\nregion = "x"'), "'ibm' is none of aws, gcp, azure"),
        (SMALL + 'prometheus = [{ url = "http://b" }]', "give prometheus_url or prometheus, not both"),
        (SMALL + 'meters = ["dcgm"]', "clusters.0.meters.0: 'dcgm' is none of kepler, kepler_legacy, scaphandre"),
        (SMALL + 'gpu_meters = ["scaphandre"]', "gpu_meters.0: 'scaphandre' is none of dcgm, kepler"),
        (SMALL + 'meters = ["kepler", "kepler"]', "meters names a meter twice"),
        (SMALL + "meters = []\ngpu_meters = []", "meters and gpu_meters are both empty: nothing would be measured"),
        (SMALL + "[energy]\nceiling_watts = { socket = 0 }", "ceiling_watts.socket: Input should be greater than 0"),
        (SMALL + "[energy]\nceiling_watts = { sockets = 9 }", "energy.ceiling_watts.sockets: did you mean 'socket'?"),
        (SMALL + 'energy_step = "2h"', "clusters.0.energy_step: '2h' is none of 1h, 30m, 15m, 5m: did you mean '1h'?"),
        (SMALL + "pues = 1", "unknown key clusters.0.pues: did you mean 'pue'?"),
        (SMALL + "[clusters.intensity]\nprovider = []", "intensity.provider: did you mean 'providers'?"),
        (SMALL + "[intensity.csv]\npaht = 1", "csv.paht: did you mean 'path'?"),
        ('intensity = "static"\n' + SMALL, "intensity: Input should be"),
        ("clusters = 3", "clusters: Input should be"),
        ("clusters = [3]", "clusters.0: Input should be"),
        (SMALL.replace("127.0.0.1:9090", "h:99999"), "is not an http(s) address"),
        (SMALL.replace("127.0.0.1:9090", "[bad"), "prometheus.0.url: "),
        (SMALL.replace("127.0.0.1:9090", "h/?token=x"), "an address ends before '?'"),
        (STORE + 'bearer_token_env = "A"\nbearer_token_file = "b"', "give a secret once"),
        (STORE + 'username = "u"', "username needs password_env or password_file"),
        (STORE + 'password_env = "P"', "username needs password_env"),
        (STORE + 'username = "a:b"\npassword_env = "P"', "a username cannot hold ':'"),
        (
            STORE + 'username = "u"\npassword_env = "P"\nbearer_token_env = "B"',
            "exclude each other",
        ),
        (STORE + 'token = "x"', "unknown key remote_write.0.token"),
        (SMALL + "[http]\ntimeout_seconds = 0", "http.timeout_seconds: Input should be greater than 0"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_its_key_and_its_file(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'carbon-etl.toml'}: ")
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, SMALL.replace("pue = 1.2", "") + "pum = 1\n[htp]")
    for key in ("clusters.0.pue is missing", "unknown key clusters.0.pum", "unknown key htp: did you mean 'http'"):
        assert key in str(caught.value)


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "config", {})
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path, {})
