"""DuckDB views over the parquet tables: in memory for this program, in `carbon.duckdb` for everyone else.

Views and macros only, never rows: a `.duckdb` file locks its readers out while someone writes it. Paths are absolute; a
table without a file is a typed empty view, because a glob that matches nothing is an error in DuckDB.
"""

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow as pa

from pipeline.errors import StoreFull, StoreUnwritable
from pipeline.sinks.commits import FOOTER_KEY
from pipeline.sinks.daily import DAILY_VIEW, DIGEST_LETTERS
from pipeline.sinks.partitions import has_files, make_folder, partition_glob, store_errors, sync_folder
from pipeline.sinks.signals import MACROS, SIGNAL_VIEWS
from pipeline.tables import APPEND_ONLY_TABLES, REPLACED_TABLES, TABLES

DATABASE = "carbon.duckdb"
STORAGE_VERSION = "v1.4.0"  # what the oldest supported DuckDB opens
DUCKDB_TYPES = {
    pa.timestamp("us", tz="UTC"): "timestamptz",
    pa.string(): "varchar",
    pa.float64(): "double",
    pa.int64(): "bigint",
    pa.list_(pa.float64()): "double[]",
    pa.binary(): "blob",
}
COMMIT_JSON = """[{"cluster": "VARCHAR", "hour_utc": "TIMESTAMPTZ", "run_id": "VARCHAR", "revision": "BIGINT"}]"""

# Copies of one row may stand in two files while a table is being compacted; quarantine rows have no shorter key.
NATURAL_KEYS = {
    "intensity": "zone, provider, signal, factor_type, start_utc, end_utc, updated_utc, fetched_utc",
    "intensity_checks": "zone, provider, signal, factor_type, start_utc, end_utc, asked_utc",
    "forecasts": "zone, provider, signal, factor_type, start_utc, end_utc, issued_utc, fetched_utc",
    "payloads": "payload_id, provider, url, fetched_utc",
    "pue": "cluster, source, start_utc, end_utc, updated_utc, fetched_utc",
    "market_factors": ", ".join(TABLES["market_factors"].names),
    "cluster_zones": ", ".join(TABLES["cluster_zones"].names),
    "revisions": "cluster, hour_utc, namespace, component, kind, revision, run_id",
    "quarantine": ", ".join(f'"{name}"' for name in TABLES["quarantine"].names),
    "hours": "cluster, hour_utc, store, state, reason, revision, run_id, written_utc",
    "runs": "run_id, finished_utc",
    "closings": "period, cluster, namespace, closed_utc",
}

# In schema `stored` are the rows as they lie there; the view of a table's own name shows those that count.
DERIVED = {
    "stored.commit_log": "select distinct cluster, hour_utc, run_id, revision from stored.hours where store is null",
    "emissions": "from stored.emissions",
    "emissions_daily": DAILY_VIEW,
    "node_energy": "from stored.node_energy semi join stored.commits using (cluster, hour_utc, run_id, revision)",
    "processes": "from stored.processes semi join stored.commits using (cluster, hour_utc, run_id, revision)",
    "quarantine": "from stored.quarantine semi join stored.commits using (cluster, hour_utc, run_id, revision)",
    "revisions": "from stored.revisions semi join stored.commit_log using (cluster, hour_utc, run_id, revision)",
    "hours": """
        from stored.hours
        qualify row_number() over (
            partition by cluster, hour_utc, store
            order by case when store is null then revision end desc nulls last, written_utc desc
        ) = 1""",
    **{name: f"from stored.{name}" for name in APPEND_ONLY_TABLES if name not in ("quarantine", "revisions", "hours")},
    "intensity_newest": """
        with edge as (
            select distinct zone, provider, signal, factor_type, unnest([start_utc, end_utc]) as edge_utc from intensity
        ), segment as (
            select *, lead(edge_utc) over (
                partition by zone, provider, signal, factor_type order by edge_utc
            ) as next_utc from edge
        )
        select segment.zone, edge_utc as start_utc, next_utc as end_utc, carbon_intensity_g_per_kwh, segment.provider,
            segment.signal, segment.factor_type, basis, quality, updated_utc, model, fetched_utc,
            payload_id
        from segment join intensity on intensity.zone = segment.zone and intensity.provider = segment.provider
            and intensity.signal = segment.signal and intensity.factor_type = segment.factor_type
            and start_utc <= edge_utc and end_utc >= next_utc
        qualify row_number() over (
            partition by segment.zone, segment.provider, segment.signal, segment.factor_type, edge_utc
            order by fetched_utc desc, updated_utc desc nulls last
        ) = 1""",
    "silent_nodes": """
        with seen as (select distinct cluster, node, hour_utc from node_energy), span as (
            select *, lead(hour_utc) over (partition by cluster, node order by hour_utc) as next_utc from seen
        ), due as (
            select cluster, node, hour_utc as last_seen_utc, unnest(generate_series(
                hour_utc + interval 1 hour,
                least(next_utc - interval 1 hour, hour_utc + interval 24 hour),
                interval 1 hour
            )) as hour_utc from span
        )
        select cluster, hour_utc, node, last_seen_utc from due
        semi join (select cluster, hour_utc from hours where store is null) using (cluster, hour_utc)""",
    "nodes_expected": """
        with node_hours as (
            select cluster, hour_utc, node, true as seen from (select distinct cluster, hour_utc, node from node_energy)
            union all
            select cluster, hour_utc, node, false from silent_nodes
        )
        select cluster, hour_utc, count(*) as nodes_expected, count(*) filter (seen) as nodes_seen
        from node_hours group by cluster, hour_utc""",
    **SIGNAL_VIEWS,
}


def definitions(root: Path) -> dict[str, str]:
    """The SQL of every view by name, in the order in which they can be made; it names the tables that have files."""
    root = root.absolute()
    files = {f"stored.{name}": _table_files(root, name) for name in TABLES}
    footers = {"stored.commits": _commits(root), "stored.emissions_digests": _emissions_digests(root)}
    return files | footers | DERIVED


def open_views(root: Path, query: str | None = None) -> duckdb.DuckDBPyConnection:
    """A connection in memory with the views, in UTC, that can read under `root` and nothing else.

    Close it after use. Its settings are locked, so that text from a user cannot undo that.

    Args:
        root: the warehouse.
        query: make only the views that this text can mean, since making one opens every file of its table.
    """
    root = root.absolute()
    connection = duckdb.connect(":memory:")
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set parquet_metadata_cache = true")  # a footer is looked at by several views, and to bind them
    views = definitions(root)
    _create(connection, views if query is None else _meant(views, query))
    folders = ", ".join(sorted({_quoted(str(root)), _quoted(_glob_escaped(root))}))
    connection.execute(f"set allowed_directories = [{folders}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def _meant(views: dict[str, str], query: str) -> dict[str, str]:
    """The views that a query names, and those that these are made of."""
    texts, names = [query], set()
    for name in reversed(views):
        word = re.compile(rf"\b{re.escape(name)}\b")
        if any(word.search(text) for text in texts):
            names.add(name)
            texts.append(views[name])
    return {name: text for name, text in views.items() if name in names}


def refresh_database(root: Path) -> bool:
    """Rebuild `carbon.duckdb` if the folder, the definitions or the set of tables with files changed.

    Built aside and renamed, so that who has it open keeps reading the old one. Its times show in the session's zone.

    Returns:
        Whether it was rebuilt.

    Raises:
        StoreFull, StoreUnwritable: the old one stands.
    """
    root = root.absolute()
    views = definitions(root)
    named = (MACROS | views).items()
    digest = hashlib.sha256("\n".join(f"{name}: {query}" for name, query in named).encode()).hexdigest()
    path = root / DATABASE
    if _digest(path) == digest:
        return False
    temporary = path.with_name(f".{DATABASE}.{os.getpid()}.tmp")
    with store_errors(path):
        make_folder(root)
        try:
            _build(temporary, views | {"about": f"select '{digest}' as definitions_sha256"})
            temporary.chmod(0o640)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(root)
    return True


def _build(path: Path, views: dict[str, str]) -> None:
    path.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(path), config={"storage_compatibility_version": STORAGE_VERSION}) as connection:
            _create(connection, views)
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        kind = StoreFull if "No space left" in reason else StoreUnwritable
        raise kind(f"cannot write {path}: {reason}") from error


def _create(connection: duckdb.DuckDBPyConnection, views: dict[str, str]) -> None:
    connection.execute("create schema stored")
    for name, expression in MACROS.items():
        connection.execute(f"create macro {name} as {expression}")
    for name, query in views.items():
        connection.execute(f"create view {name} as {query}")


def _digest(path: Path) -> str | None:
    """What the file says it was built from; None if there is none or it cannot say."""
    if not path.exists():
        return None
    with suppress(duckdb.Error), duckdb.connect(str(path), read_only=True) as connection:
        row = connection.execute("select definitions_sha256 from about").fetchone()
        return None if row is None else str(row[0])
    return None


def _table_files(root: Path, table: str) -> str:
    """A table's rows as stored, with its partition column; the empty branch gives columns that old files lack."""
    replaced = table in REPLACED_TABLES
    columns = {name: DUCKDB_TYPES[kind] for name, kind in zip(TABLES[table].names, TABLES[table].types, strict=True)}
    partition = "date" if replaced else "written_date"
    nulls = ", ".join(f'null::{kind} as "{name}"' for name, kind in (columns | {partition: "date"}).items())
    empty = f"select {nulls} where false"
    if not has_files(root, table):
        return empty
    hive = {"cluster": "varchar", "date": "date"} if replaced else {"date": "date"}
    types = ", ".join(f"'{name}': {kind}" for name, kind in hive.items())
    source = (
        f"read_parquet({_glob(root, table)}, union_by_name = true, hive_partitioning = true, hive_types = {{{types}}})"
    )
    selected = ", ".join(f'"{name}"' for name in [*columns, partition])
    if replaced:
        return f"select {selected} from ({empty} union all by name select * from {source})"
    rows = f"select * rename (date as written_date) from {source}"
    return f"select distinct on ({NATURAL_KEYS[table]}) {selected} from ({empty} union all by name {rows})"


def _commits(root: Path) -> str:
    """The (cluster, hour, run_id, revision) that emissions files carry in their footers: read without their rows."""
    parsed = f"unnest(from_json(decode(value), '{COMMIT_JSON}')) as row"
    rows = f"select {parsed} from ({_emissions_footers(root)})"
    return f"select row.cluster, row.hour_utc, row.run_id, row.revision from ({rows})"


def _emissions_digests(root: Path) -> str:
    """The digest of those commits, by partition: what `emissions_daily` says that it sums."""
    path = "regexp_extract(file_name, '/cluster=([^/]*)/date=([^/]*)/[^/]*$', ['cluster', 'date']) as path"
    rows = f"select {path}, left(sha256(value), {DIGEST_LETTERS}) as source_digest from ({_emissions_footers(root)})"
    return f"select path.cluster, path.date::date as date, source_digest from ({rows})"


def _emissions_footers(root: Path) -> str:
    if not has_files(root, "emissions"):
        return "select null::varchar as file_name, null::blob as value where false"
    return f"select file_name, value from parquet_kv_metadata({_glob(root, 'emissions')}) where key = '{FOOTER_KEY}'"


def _glob(root: Path, table: str) -> str:
    return _quoted(f"{_glob_escaped(root)}/{partition_glob(table)}")


def _glob_escaped(root: Path) -> str:
    """The path with `*`, `?` and `[` meaning themselves."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(root))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
