"""What an object store refuses, in one line and without a secret; and whether it can be relied on."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.errors import ConfigError, SchemaError, StoreUnreachable, StoreUnwritable
from pipeline.settings import WarehouseSettings
from pipeline.sinks.opening import keeps_commits_apart, open_path
from pipeline.sinks.partitions import partition_path
from tests.delta.conftest import AT_LENGTH, ObjectStore
from tests.delta.s3_server import BUCKET, SECRET
from tests.delta.stores import commit_first, open_store
from tests.product import Product
from tests.sinks import rows

SILENT = "http://127.0.0.1:9"
REFUSAL = """<?xml version="1.0"?><Error><Code>{code}</Code><Message>you sent {secret}</Message></Error>"""


class Refusing(http.server.BaseHTTPRequestHandler):
    """Refuses whatever it is asked, as S3 does a wrong key, and repeats a secret."""

    def do_GET(self) -> None:
        body = REFUSAL.format(code="SignatureDoesNotMatch", secret=SECRET).encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its base's name
        """Nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_store_with_conditional_puts_is_found_to_keep_commits_apart(object_store: ObjectStore) -> None:
    assert keeps_commits_apart(WarehouseSettings(path=f"s3://{BUCKET}/probed"), object_store.env)
    assert open_store(f"s3://{BUCKET}/probed", object_store.env).hours("prod-eu").num_rows == 0


def test_a_bucket_that_is_not_there_is_named(object_store: ObjectStore) -> None:
    with pytest.raises(StoreUnwritable, match=r"s3://nowhere/x: cannot read .*: there is no such bucket: make it"):
        open_path("s3://nowhere/x", object_store.env)


def test_refused_credentials_are_said_without_them(object_store: ObjectStore, refusing: str) -> None:
    with pytest.raises(StoreUnwritable, match=r"refuses these credentials .*SignatureDoesNotMatch") as refusal:
        open_path(f"s3://{BUCKET}/x", object_store.env | {"AWS_ENDPOINT_URL": refusing})
    assert SECRET not in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_store_that_does_not_answer_is_another_times_business(object_store: ObjectStore) -> None:
    with pytest.raises(StoreUnreachable, match=r"Connection refused .*run again later") as refusal:
        open_path(f"s3://{BUCKET}/x", object_store.env | {"AWS_ENDPOINT_URL": SILENT})
    assert refusal.value.exit_code == 75
    assert str(refusal.value).isprintable()


@AT_LENGTH
@pytest.mark.parametrize("name", ["part-00000-3f2a-c000.zstd.parquet", "..parquet"])
def test_an_object_of_another_program_in_a_table_is_named(tmp_path: Path, object_store: ObjectStore, name: str) -> None:
    path = f"s3://{BUCKET}/{tmp_path.name}"
    warehouse = open_store(path, object_store.env)
    commit_first(warehouse)
    day = partition_path(warehouse.root, "emissions", rows.CLUSTER, rows.DAY)
    where = "cluster=another/date=2026-11-01"
    warehouse._tables["emissions"].replace(where, None, f"{where}/{name}", day)
    with pytest.raises(SchemaError, match="is no file of this table: another program wrote there"):
        open_store(path, object_store.env)


@pytest.mark.parametrize("path", ["gs://bucket/x", "s3://", "s3://B/x", "s3://user:pass@host/x", "s3://bucket/x?y=1"])
def test_an_address_that_is_no_bucket_and_prefix_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="give a folder, or s3://bucket/prefix"):
        open_path(path, {})


@AT_LENGTH
def test_a_command_ends_with_one_line_and_the_exit_code_of_the_cause(tmp_path: Path, object_store: ObjectStore) -> None:
    product = Product(tmp_path, SILENT)
    product.replace(str(product.warehouse), "s3://nowhere/x")
    missing = product.call("run", env=object_store.env)
    assert missing.code == 2
    assert "no such bucket" in missing.only_error()


@pytest.mark.parametrize("said", ['query_url = "none"', 'publish = "blocks"'])
def test_a_store_whose_notes_are_files_needs_a_folder(tmp_path: Path, said: str) -> None:
    product = Product(tmp_path, SILENT)
    product.replace(str(product.warehouse), "s3://bucket/x")
    with product.config.open("a") as config:
        config.write(f'[[remote_write]]\nname = "vm"\nurl = "{SILENT}/api/v1/write"\n{said}\n')
    with pytest.raises(ConfigError, match=r"store vm: .* keeps files: give warehouse.path a folder"):
        load(product.config, {})
