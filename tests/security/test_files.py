"""Files of the warehouse: who may read them, what a link planted among them reaches, where a name can lead a path."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.credentials.exposure import exposed
from pipeline.demo.servers import RunningServer
from pipeline.errors import CarbonEtlError, ConfigError
from pipeline.settings import StoreSettings
from pipeline.sinks.batches import Batch
from pipeline.sinks.block_sets import BlockSets
from pipeline.sinks.locks import held_lock, partition_lock_path, store_lock_path
from pipeline.sinks.partitions import partition_path
from pipeline.sinks.views import refresh_database
from pipeline.sinks.warehouse import Warehouse
from pipeline.window import HOUR
from tests.conftest import SMALL_FLEET_START, RealClock
from tests.product import Product
from tests.sinks import rows
from tests.sinks.rows import CLUSTER, DAY, HOURS

WINDOW = ("--start", f"{SMALL_FLEET_START:%FT%H:%MZ}", "--end", f"{SMALL_FLEET_START + 2 * HOUR:%FT%H:%MZ}")
UP_AND_OUT = ["../x", "..", ".", "a/b", "/etc", "a\\b", "a\nb", "a\x00b", "", "A", "a b", "a=b", "%2e%2e", "é", "a--b"]


@pytest.fixture
def open_umask() -> Iterator[None]:
    """As somebody whose umask keeps nothing back."""
    before = os.umask(0)
    yield
    os.umask(before)


def too_open(root: Path) -> list[str]:
    """Files and folders that others may read, or the group may write."""
    return [
        f"{stat.filemode(path.lstat().st_mode)} {path.relative_to(root)}"
        for path in (root, *root.rglob("*"))
        if path.lstat().st_mode & (stat.S_IRWXO | stat.S_IWGRP) and not path.is_symlink()
    ]


def test_nothing_that_a_run_writes_is_open_to_others(
    small_fleet_prometheus: RunningServer, tmp_path: Path, open_umask: None
) -> None:
    product = Product(tmp_path, small_fleet_prometheus.url)
    said = product.call("backfill", *WINDOW)
    assert said.code == 0, said
    assert product.call("sql", "select count(*) from emissions").code == 0
    kinds = {path.suffix for path in product.warehouse.rglob("*")}
    assert {".parquet", ".lock", ".duckdb"} <= kinds
    assert too_open(product.warehouse) == []


def test_nothing_of_a_block_set_is_open_to_others(tmp_path: Path, open_umask: None) -> None:
    points = {("carbon_x", (("namespace", "shop"),)): [(1_793_520_000_000, 1.0)]}
    BlockSets(tmp_path, StoreSettings(url="http://127.0.0.1:9")).make("a--2026-11-01", Batch.of_points(points))
    assert too_open(tmp_path / "blocks") == []


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Path]:
    """A file of somebody else, that nothing may change, and a warehouse beside it."""
    victim = tmp_path / "victim"
    victim.write_text("not yours")
    (tmp_path / "warehouse").mkdir(mode=0o750)
    yield victim
    assert victim.read_text() == "not yours"


def commit(root: Path) -> None:
    rows.commit(Warehouse(root), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))


def test_a_link_in_the_place_of_a_table_is_replaced_and_not_followed(planted: Path) -> None:
    root = planted.parent / "warehouse"
    commit(root)
    path = partition_path(root, "emissions", CLUSTER, DAY)
    path.unlink()
    path.symlink_to(planted)
    with suppress(CarbonEtlError):  # reading what is no parquet may be refused first
        commit(root)


def test_a_link_in_the_place_of_a_temporary_file_is_not_written_through(planted: Path) -> None:
    root = planted.parent / "warehouse"
    for table in ("emissions", "node_energy", "processes", "emissions_daily"):
        folder = partition_path(root, table, CLUSTER, DAY).parent
        folder.mkdir(parents=True)
        (folder / f".{table}.parquet.tmp").symlink_to(planted)
    commit(root)
    assert partition_path(root, "emissions", CLUSTER, DAY).stat().st_size > 0


def test_a_link_in_the_place_of_the_views_is_replaced_and_not_followed(planted: Path) -> None:
    root = planted.parent / "warehouse"
    commit(root)
    (root / "carbon.duckdb").unlink(missing_ok=True)
    (root / "carbon.duckdb").symlink_to(planted)
    (root / f".carbon.duckdb.{os.getpid()}.tmp").symlink_to(planted)
    with suppress(CarbonEtlError):
        refresh_database(root)
    assert not (root / "carbon.duckdb").is_symlink()


def test_a_link_in_the_place_of_a_lock_makes_no_file_elsewhere(planted: Path) -> None:
    root = planted.parent / "warehouse"
    path = partition_lock_path(root, CLUSTER, DAY)
    path.parent.mkdir(mode=0o750)
    path.symlink_to(planted.parent / "made-by-link")
    with suppress(CarbonEtlError), held_lock(path, "a day", RealClock(), 0):
        pass
    assert not (planted.parent / "made-by-link").exists()


@pytest.mark.parametrize("name", UP_AND_OUT)
def test_no_cluster_has_a_name_that_leads_elsewhere(name: str, tmp_path: Path) -> None:
    product = Product(tmp_path, "http://127.0.0.1:9")
    text = product.config.read_text().replace('name = "prod-eu"', f"name = {toml(name)}")
    product.config.write_text(text)
    with pytest.raises(ConfigError):
        load(product.config, {})


def toml(text: str) -> str:
    return '"' + "".join(c if c.isalnum() else f"\\u{ord(c):04x}" for c in text) + '"'


@pytest.mark.parametrize("name", [name for name in UP_AND_OUT if name])
def test_a_store_of_any_name_has_its_lock_in_the_folder_of_locks(name: str, tmp_path: Path) -> None:
    path = store_lock_path(tmp_path, name)
    assert path.parent == tmp_path / ".locks"
    assert path.resolve().parent == (tmp_path / ".locks").resolve()
    assert "\x00" not in str(path)


def test_the_places_of_two_partitions_never_meet(tmp_path: Path) -> None:
    """`-` may stand in a cluster's name, and does before a date: `--` may not, so no two names make one path."""
    days = [date(2026, 11, 1), datetime(2026, 11, 2, tzinfo=UTC).date()]
    names = ["a", "a-2026-11-01", "a-2026", "prod-eu"]
    paths = {partition_lock_path(tmp_path, name, day) for name in names for day in days}
    assert len(paths) == len(names) * len(days)


SECRETS = """
[warehouse]
path = "warehouse"
[[clusters]]
name = "prod-eu"
grid_zone = "DE"
pue = 1.2
[[clusters.prometheus]]
url = "https://127.0.0.1:9"
username = "reader"
password_file = "password"
headers_file = { X-Scope-OrgID = "tenant" }
ca_file = "ca"
cert_file = "cert"
key_file = "key"
[intensity.entsoe]
token_file = "token"
[[remote_write]]
url = "https://127.0.0.1:9"
bearer_token_file = "bearer"
cert_file = "both"
"""


def test_config_check_warns_of_every_secret_that_everybody_can_read(tmp_path: Path) -> None:
    names = {"password", "tenant", "key", "token", "bearer", "both"}
    product = Product(tmp_path, "")
    text = SECRETS
    for name in (*names, "ca", "cert"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644)
        text = text.replace(f'"{name}"', f'"{tmp_path / name}"')
    product.config.write_text(text)
    settings = load(product.config, {})
    assert exposed(settings) == {tmp_path / name: "0644" for name in names}
    for name in names:
        (tmp_path / name).chmod(0o640)
    assert exposed(settings) == {}
    (tmp_path / "key").unlink()
    assert exposed(settings) == {}


def test_the_warning_is_a_note_and_no_failure(tmp_path: Path) -> None:
    product = Product(tmp_path, "http://127.0.0.1:9")
    secret = tmp_path / "token"
    secret.write_text("s3cr3t")
    secret.chmod(0o644)
    product.replace(
        'prometheus_url = "http://127.0.0.1:9"',
        f'prometheus = [{{ url = "http://127.0.0.1:9", bearer_token_file = "{secret}" }}]',
    )
    said = product.call("config", "check")
    assert said.code == 0
    assert f"! {secret}: holds a secret that everybody here can read (0644): chmod 640 it" in said.out
    assert "s3cr3t" not in said.out + said.err
