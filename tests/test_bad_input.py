"""Whatever is wrong, the command says it in one line, ends with the documented code, and half-publishes nothing."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.demo.fleet import churning, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.window import Window, floor_hour
from tests.conftest import RealClock
from tests.misbehaving import (
    CUT_OFF,
    HISTOGRAM,
    NOT_JSON,
    ONE_VALUE,
    REDIRECT,
    WITHOUT_DATA,
    Answer,
    data,
    failure,
    misbehaving,
)
from tests.product import CONFIG, Product

BOUND_BY_PERMISSIONS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
USAGE, REJECTED, MALFORMED, UNAVAILABLE, PARTLY = 2, 2, 1, 75, 69


@pytest.fixture(scope="module")
def window() -> Window:
    """Two closed hours of the recent past."""
    end = floor_hour(datetime.now(UTC) - timedelta(hours=1))
    return Window(end - timedelta(hours=2), end)


@pytest.fixture(scope="module")
def kepler(
    window: Window, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    """A Prometheus with one node that covers `window`."""
    fleet = simulate(churning(seed=5, start=window.start, hours=2, nodes=1, pods_per_node=2))
    data_dir = tmp_path_factory.mktemp("kepler") / "data"
    fill_blocks(fleet, prometheus_binary.promtool, data_dir)
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock) as server:
        yield server


@pytest.fixture
def product(tmp_path: Path, kepler: RunningServer) -> Product:
    return Product(tmp_path, kepler.url)


@pytest.fixture
def backfill(window: Window) -> tuple[str, ...]:
    """The command that takes `window`."""
    return ("backfill", "--start", f"{window.start:%FT%H:%MZ}", "--end", f"{window.end:%FT%H:%MZ}")


def test_the_good_case_of_all_that_follows_works(product: Product, backfill: tuple[str, ...]) -> None:
    said = product.call(*backfill)
    assert (said.code, said.errors) == (0, [])
    assert any(name.startswith("emissions/cluster=prod-eu/") for name in product.published)


# --- addresses and answers


def test_no_server_at_the_address(product: Product, kepler: RunningServer, backfill: tuple[str, ...]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    product.replace(kepler.url, url)
    said = product.call(*backfill)
    assert said.code == UNAVAILABLE
    assert said.only_error() == f"error: cannot reach {url}: connection refused"
    assert product.published == {}


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (NOT_JSON, MALFORMED, "answers, but not as a Prometheus: check the address and its path prefix"),
        (WITHOUT_DATA, MALFORMED, "answers, but not as a Prometheus"),
        (Answer(404, b"nothing here"), REJECTED, "has no Prometheus API (404): check the address"),
        (REDIRECT, REJECTED, "has no Prometheus API (302): check the address"),
        (failure(401, "who are you"), REJECTED, "refuses these credentials (401): set bearer_token_env"),
        (failure(403, "not you"), REJECTED, "refuses these credentials (403)"),
        (failure(422, "too many samples"), REJECTED, "refuses the query (422): too many samples"),
        (failure(503, "starting up"), UNAVAILABLE, "answers 503: starting up"),
        (CUT_OFF, UNAVAILABLE, "its answer broke off"),
        (HISTOGRAM, MALFORMED, "does not answer"),
        (data([], isPartial=True), UNAVAILABLE, "in part only"),
    ],
    ids=["html", "no data", "404", "302", "401", "403", "422", "503", "cut off", "histogram", "partial"],
)
def test_an_address_that_answers_wrongly(
    answer: Answer, code: int, says: str, tmp_path: Path, backfill: tuple[str, ...]
) -> None:
    with misbehaving(answer) as server:
        product = Product(tmp_path, server.url)
        said = product.call(*backfill)
    assert said.code == code
    assert server.url in said.only_error()
    assert says in said.only_error()
    assert product.published == {}


def test_answers_that_turn_wrong_half_way_publish_nothing(tmp_path: Path, backfill: tuple[str, ...]) -> None:
    oldest = data([{"metric": {}, "value": [1000.0, str(datetime.now(UTC).timestamp() - 36_000)]}], "vector")
    with misbehaving(oldest, ONE_VALUE, oldest, HISTOGRAM) as server:
        product = Product(tmp_path, server.url)
        said = product.call(*backfill)
    assert said.code == MALFORMED
    assert said.only_error()
    assert product.published == {}


def test_a_503_that_recovers_within_the_budget_is_no_failure(
    product: Product, kepler: RunningServer, backfill: tuple[str, ...]
) -> None:
    product.replace("retry_seconds = 0", "retry_seconds = 5")
    with misbehaving(failure(503, "starting"), data([], warnings=["store-2 is away"])) as server:
        product.replace(kepler.url, server.url)
        said = product.call(*backfill)
    assert len(server.asked) > 1
    assert "503" not in said.err
    assert "has no series of any configured meter" in said.only_error(), "the answer after the 503 counts"
    assert "warning store-2 is away" in said.out


def test_no_kepler_series(tmp_path: Path, empty_prometheus: RunningServer, backfill: tuple[str, ...]) -> None:
    product = Product(tmp_path, empty_prometheus.url)
    said = product.call(*backfill)
    assert said.code == REJECTED
    meters = "Kepler 0.10 or newer, Kepler 0.9 or older, Scaphandre, dcgm-exporter"
    looked_for = f"has no series of any configured meter ({meters}) for cluster prod-eu: is one scraped there"
    assert looked_for in said.only_error()
    assert product.published == {}


def test_a_selector_that_matches_nothing(product: Product, backfill: tuple[str, ...], kepler: RunningServer) -> None:
    entry = f'prometheus = [{{ url = "{kepler.url}", selector = \'{{cluster="other"}}\' }}]'
    product.replace(f'prometheus_url = "{kepler.url}"', entry)
    said = product.call(*backfill)
    assert (said.code, product.published) == (REJECTED, {})
    assert "is the selector right?" in said.only_error()


# --- times


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        (
            "2026-11-01T00:00",
            "2026-11-02T00:00Z",
            "--start '2026-11-01T00:00' has no time zone: write 2026-11-01T00:00Z",
        ),
        ("2026-11-01T00:30Z", "2026-11-02T00:00Z", "is not a whole UTC hour: use 2026-11-01T00:00Z"),
        ("2026-11-01T00:00+05:30", "2026-11-02T00:00Z", "is not a whole UTC hour"),
        ("2026-11-02T00:00Z", "2026-11-01T00:00Z", "the window ends (2026-11-01T00:00Z) before it begins"),
        ("2026-11-02T00:00Z", "2026-11-02T00:00Z", "the window ends"),
        ("yesterday", "2026-11-02T00:00Z", "--start 'yesterday' is not ISO 8601: write it like 2026-11-01T00:00Z"),
        ("2026-11-01T00:00Z", "2026-11-31T00:00Z", "--end '2026-11-31T00:00Z' is not ISO 8601"),
    ],
)
def test_a_time_that_is_none(start: str, end: str, says: str, product: Product) -> None:
    said = product.call("backfill", "--start", start, "--end", end)
    assert said.code == USAGE
    assert says in said.only_error()
    assert product.files == {}


# --- the config


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('grid_zone = "DE"', 'grid_zone = "DEE"', "no provider knows grid zone 'DEE': did you mean EE or DE"),
        ('grid_zone = "DE"', 'cloud = "aws"\nregion = "eu-centrall-1"', "did you mean 'eu-central-1'?"),
        ("pue = 1.2", "", "clusters.0.pue is missing: there is no silent default, write pue = 1.2"),
        ("pue = 1.2", "pue = 1.2\nenergy_stepp = 1", "unknown key clusters.0.energy_stepp: did you mean 'energy_step'"),
        ('path = "{warehouse}"', 'path = "gs://bucket/prefix"', "give a folder, or s3://bucket/prefix"),
        ('prometheus_url = "{url}"', 'prometheus = [{{url="{url}"}}, {{url="{url}"}}]', "twice, with one selector"),
        ('prometheus_url = "{url}"', "prometheus = []", "prometheus is empty: say where its samples are"),
        ('prometheus_url = "{url}"', 'prometheus_url = "http://u:s3cret@h"', "credentials do not belong in an address"),
        ("[http]", '[intensity]\nproviders = ["electricity-maps"]\n[http]', "did you mean 'electricity_maps'?"),
        ("[http]", '[intensity]\nproviders = ["csv"]\n[http]', "provider csv needs its table: write [intensity.csv]"),
        ("[http", "[http", "is not TOML"),
    ],
)  # fmt: skip
def test_a_config_that_is_wrong(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in CONFIG
    text = CONFIG + "[http" if old == new else CONFIG.replace(old, new)
    product = Product(tmp_path, "http://127.0.0.1:9", text)
    said = product.call("config", "check")
    assert said.code == USAGE
    assert says in said.only_error()
    assert "s3cret" not in said.out + said.err
    assert product.files == {}


@pytest.mark.parametrize("command", ["run", "doctor"])
def test_every_command_refuses_a_wrong_config(command: str, tmp_path: Path) -> None:
    product = Product(tmp_path, "http://127.0.0.1:9", CONFIG.replace("pue = 1.2", "pui = 1.2"))
    said = product.call(command)
    assert said.code == USAGE
    assert "unknown key clusters.0.pui: did you mean 'pue'?" in said.only_error()
    assert product.files == {}


def test_no_config_at_all(product: Product) -> None:
    product.config.unlink()
    said = product.call("run")
    assert said.code == USAGE
    assert f"no config at {product.config}: write one" in said.only_error()


def test_an_unknown_cluster_names_the_nearest(product: Product) -> None:
    said = product.call("run", "--cluster", "prod-us")
    assert said.code == USAGE
    assert said.only_error() == "error: no cluster 'prod-us' in the config: did you mean 'prod-eu'?"
    assert product.files == {}


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ('bearer_token_env = "NO_SUCH_TOKEN"', "the environment has no NO_SUCH_TOKEN"),
        ('bearer_token_file = "/no/such/file"', "cannot read the secret file /no/such/file: No such file or directory"),
        ('bearer_token_env = "TWO_LINES"', "the secret in TWO_LINES holds line breaks"),
        ('bearer_token_env = "EMPTY"', "the secret in EMPTY is empty"),
        ('bearer_token_env = "UMLAUT"', "the bearer token in UMLAUT is not ASCII"),
    ],
)
def test_a_secret_that_is_not_usable(key: str, says: str, product: Product, kepler: RunningServer) -> None:
    product.replace(f'prometheus_url = "{kepler.url}"', f'prometheus = [{{ url = "{kepler.url}", {key} }}]')
    said = product.call("run", env={"TWO_LINES": "s3cret\nX: y", "EMPTY": " ", "UMLAUT": "s3cret\u00e4"})
    assert said.code == USAGE
    assert says in said.only_error()
    assert "s3cret" not in said.out + said.err
    assert product.files == {}


def test_a_secret_of_the_second_cluster_is_missed_before_the_first_is_folded(
    product: Product, kepler: RunningServer, backfill: tuple[str, ...]
) -> None:
    second = f"""[[clusters]]
name = "prod-us"
prometheus = [{{ url = "{kepler.url}", bearer_token_env = "NO_SUCH_TOKEN" }}]
grid_zone = "US"
pue = 1.1

[http]"""
    product.replace("[http]", second)
    said = product.call(*backfill)
    assert said.code == USAGE
    assert "NO_SUCH_TOKEN" in said.only_error()
    assert product.files == {}


def test_a_secret_of_a_store_is_missed_before_anything_is_folded(product: Product, backfill: tuple[str, ...]) -> None:
    product.replace(
        "[http]", '[[remote_write]]\nurl = "http://127.0.0.1:9/api/v1/write"\nbearer_token_env = "NO_SUCH"\n[http]'
    )
    said = product.call(*backfill)
    assert said.code == USAGE
    assert "the environment has no NO_SUCH" in said.only_error()
    assert product.files == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("DE,2026-11-01T00:00,2026-11-01T01:00Z,100", "line 2: start_utc '2026-11-01T00:00' has no time zone"),
        ("DE,2026-11-01T00:00Z,2026-11-01T01:00Z,lots", "line 2: 'lots' is not an intensity in g/kWh"),
        ("DE,2026-11-01T00:00Z,2026-11-01T01:00Z,-3", "line 2: '-3' is not an intensity"),
        ("DE,2026-11-01T00:00Z,2026-11-01T00:00Z,3", "line 2: a step runs from one whole 5 minutes to a later one"),
        ("DE,2026-11-01T00:00Z", "line 2: end_utc '' is not ISO 8601"),
    ],
)
def test_a_line_of_the_intensity_file_that_is_wrong(line: str, says: str, product: Product) -> None:
    path = product.folder / "grid.csv"
    path.write_text(f"zone,start_utc,end_utc,carbon_intensity_g_per_kwh\n{line}\n")
    product.replace("[http]", f'[intensity]\nproviders = ["csv"]\n[intensity.csv]\npath = "{path}"\n[http]')
    said = product.call("run")
    assert said.code == USAGE
    assert f"{path} {says}" in said.only_error()
    assert product.files == {}


# --- the warehouse


@pytest.mark.skipif(bool(BOUND_BY_PERMISSIONS) and shutil.which("setpriv") is None, reason="root is never refused")
def test_a_warehouse_that_this_user_may_not_write(product: Product, backfill: tuple[str, ...]) -> None:
    product.warehouse.mkdir(mode=0o555)
    said = product.call(*backfill, through=BOUND_BY_PERMISSIONS)
    assert said.code == USAGE
    assert re.search(r"cannot use .*warehouse.*: Permission denied; make it writable", said.only_error())
    assert product.files == {}


def test_a_warehouse_that_is_a_file(product: Product, backfill: tuple[str, ...]) -> None:
    product.warehouse.write_text("not a folder")
    said = product.call(*backfill)
    assert said.code == USAGE
    assert said.only_error() == f"error: warehouse.path {product.warehouse} is a file: give a folder"


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="no prlimit")
@pytest.mark.parametrize("limit_bytes", [1, 9_000])
def test_a_file_that_cannot_grow_leaves_no_half_of_it(
    limit_bytes: int, product: Product, backfill: tuple[str, ...]
) -> None:
    said = product.call(*backfill, through=["prlimit", f"--fsize={limit_bytes}"])
    assert said.code in (UNAVAILABLE, PARTLY)
    assert "free space or move the warehouse, then run again" in said.only_error()
    _is_whole(product)
    assert product.call(*backfill).code == 0, "the next run completes the work"
    assert product.call("sql", "select count(*) from emissions").code == 0


def test_a_full_disk_keeps_what_was_there(
    product: Product, kepler: RunningServer, backfill: tuple[str, ...], window: Window
) -> None:
    product.warehouse.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(product.warehouse)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no small disk can be mounted here")
    try:
        first_hour = (*backfill[:-1], f"{window.start + timedelta(hours=1):%FT%H:%MZ}")
        assert product.call(*first_hour).code == 0
        before = product.published
        ballast = product.warehouse / "ballast"
        with pytest.raises(OSError, match="No space left"):
            ballast.write_bytes(bytes(5 << 20))
        said = product.call(*backfill)
        assert said.code == UNAVAILABLE
        assert "No space left on device; free space or move the warehouse" in said.only_error()
        assert product.published == before
        ballast.unlink()
        assert product.call(*backfill).code == 0
    finally:
        subprocess.run(["umount", str(product.warehouse)], check=True)


def _is_whole(product: Product) -> None:
    """No temporary file, and every parquet file can be read to its end."""
    assert not [name for name in product.files if name.endswith(".tmp") or "/." in name]
    for path in product.warehouse.rglob("*.parquet"):
        assert pq.ParquetFile(path).read().num_rows > 0


# --- the store


def test_a_good_warehouse_and_a_dead_store_is_to_be_tried_again(product: Product, backfill: tuple[str, ...]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    product.replace("[http]", f'[[remote_write]]\nurl = "{url}/api/v1/write"\n[http]')
    said = product.call(*backfill)
    assert said.code == UNAVAILABLE
    assert url in said.only_error()
    assert any(name.startswith("emissions/") for name in product.published)
    assert "2 not" in said.out


# --- questions


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select * from emision", "Table with name emision does not exist"),
        ("drop table emissions", "only questions can be asked here"),
        ("select 1; select 2", "give exactly one SQL statement, not 2"),
        ("no/such/file.sql", "no query file at no/such/file.sql"),
        ("select * from read_csv('/etc/passwd')", "SQL: "),
    ],
)
def test_a_question_that_cannot_be_answered(query: str, says: str, product: Product) -> None:
    said = product.call("sql", query)
    assert said.code == USAGE
    assert says in said.only_error()
