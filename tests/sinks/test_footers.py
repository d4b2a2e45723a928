"""Entries of parquet footers by their bytes: as pyarrow reads them, and none of what is no entry."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sinks.footers import entry

KEY = "carbon_etl.commits"


def write(path: Path, metadata: dict[str, str], text: str = "x") -> str:
    pq.write_table(pa.table({"a": [text]}).replace_schema_metadata(metadata), path)
    return str(path)


@settings(max_examples=30)
@given(value=st.text(max_size=300), others=st.dictionaries(st.text(min_size=1, max_size=30), st.text(max_size=300)))
def test_an_entry_is_what_pyarrow_reads(
    tmp_path_factory: pytest.TempPathFactory, value: str, others: dict[str, str]
) -> None:
    path = write(tmp_path_factory.mktemp("footer") / "one.parquet", others | {KEY: value})
    assert entry(path, KEY) == value.encode() == pq.read_metadata(path).metadata[KEY.encode()]


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 3_000_000])
def test_lengths_of_one_byte_and_of_several(tmp_path: Path, length: int) -> None:
    assert entry(write(tmp_path / "one.parquet", {KEY: "y" * length}), KEY) == b"y" * length


def test_entries_that_duckdb_wrote(tmp_path: Path) -> None:
    path = tmp_path / "one.parquet"
    duckdb.sql("select 1 as a").write_parquet(str(path))
    assert entry(str(path), KEY) is None
    duckdb.sql(f"copy (select 1 as a) to '{path}' (kv_metadata {{'{KEY}': 'told'}})")
    assert entry(str(path), KEY) == b"told"


def test_a_statistic_that_looks_like_an_entry_is_none(tmp_path: Path) -> None:
    text = f"\x18\x12{KEY}\x18\x04fake"
    path = write(tmp_path / "one.parquet", {KEY: "true"}, text)
    assert Path(path).read_bytes().count(text.encode()) > 1
    assert entry(path, KEY) == b"true"


def test_other_keys_are_not_found(tmp_path: Path) -> None:
    path = write(tmp_path / "one.parquet", {f"{KEY}.more": "told", f"x{KEY}": "told"})
    assert entry(path, KEY) is None


def test_what_is_no_parquet_file_has_no_entry(tmp_path: Path) -> None:
    whole = Path(write(tmp_path / "one.parquet", {KEY: "y" * 300})).read_bytes()
    cut_off = whole[: whole.rindex(b"y" * 300) + 200]
    path = tmp_path / "other.parquet"
    assert entry(str(path), KEY) is None
    for content in (
        b"",
        b"PAR1",
        b"x" * len(whole),
        whole[:-9],
        cut_off + len(cut_off).to_bytes(4, "little") + b"PAR1",
    ):
        path.write_bytes(content)
        assert entry(str(path), KEY) is None
