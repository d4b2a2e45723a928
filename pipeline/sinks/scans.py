"""The files of a table as SQL: what DuckDB is told of columns, partitions and footers, so that it need not find out.

Columns come from the schema and not from the files: to unite what files hold, every query would have to open all of
them before it begins. A column that a file of an older schema version lacks reads as null. Partition columns come from
the path, so that a filter on them leaves files unopened.
"""

from pathlib import Path

import pyarrow as pa

from pipeline.sinks.appended import superseded
from pipeline.sinks.commits import FOOTER_KEY
from pipeline.sinks.daily import DIGEST_KEY, DIGEST_LETTERS
from pipeline.sinks.partitions import has_files, partition_glob
from pipeline.tables import REPLACED_TABLES, TABLES

DUCKDB_TYPES = {
    pa.timestamp("us", tz="UTC"): "timestamptz",
    pa.string(): "varchar",
    pa.float64(): "double",
    pa.int64(): "bigint",
    pa.list_(pa.float64()): "double[]",
    pa.binary(): "blob",
}
# Of a file's name, which holds one value for all its rows: DuckDB computes these once a file.
CLUSTER_OF_PATH = "regexp_extract({path}, '/cluster=([^/]*)/date=[^/]*/[^/]*$', 1)"
DATE_OF_PATH = "regexp_extract({path}, '/date=([^/]*)/[^/]*$', 1)::date"
COMMIT_JSON = """[{"cluster": "VARCHAR", "hour_utc": "TIMESTAMPTZ", "run_id": "VARCHAR", "revision": "BIGINT"}]"""

# Copies of one row stand in two files while a table is being compacted; quarantine rows have no shorter key.
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
    "teams": ", ".join(TABLES["teams"].names),
}


def partition_column(table: str) -> str:
    """What the views call the date in a file's path: the day of its rows, or the day of writing them."""
    return "date" if table in REPLACED_TABLES else "written_date"


def rows_of(root: Path, table: str) -> str:
    """A table's rows as stored, with its partition column; of a row that stands in two files one."""
    types = dict(zip(TABLES[table].names, (DUCKDB_TYPES[kind] for kind in TABLES[table].types), strict=True))
    if not has_files(root, table):
        nulls = [f'null::{kind} as "{name}"' for name, kind in (types | {partition_column(table): "date"}).items()]
        return f"select {', '.join(nulls)} where false"
    columns = [f'"{name}"' for name in types]
    replaced = table in REPLACED_TABLES
    if replaced:
        columns[list(types).index("cluster")] = CLUSTER_OF_PATH.format(path="filename") + " as cluster"
    columns.append(DATE_OF_PATH.format(path="filename") + f" as {partition_column(table)}")
    stored = [name for name in types if not (replaced and name == "cluster")]
    schema = ", ".join(f"'{name}': {{name: '{name}', type: '{types[name]}', default_value: null}}" for name in stored)
    source = f"read_parquet({_glob(root, table)}, schema = map {{{schema}}}, filename = true)"
    if replaced:
        return f"select {', '.join(columns)} from {source}"
    gone = [quoted(str(root / name)) for name in sorted(superseded(root)) if name.startswith(f"{table}/")]
    standing = f" where filename not in ({', '.join(gone)})" if gone else ""
    return f"select distinct on ({NATURAL_KEYS[table]}) {', '.join(columns)} from {source}{standing}"


def footers(root: Path) -> dict[str, str]:
    """By view, what footers tell without their rows: emissions' commits, and whose digest the other tables carry."""
    commits = _by_partition(root, "emissions", FOOTER_KEY, f"left(sha256(footer), {DIGEST_LETTERS})")
    views = {"stored.footers": commits, "stored.commits": commits_in("stored.footers")}
    for table in ("node_energy", "processes", "emissions_daily"):
        views[f"stored.{table}_digests"] = _by_partition(root, table, DIGEST_KEY, "decode(footer)")
    return views


def commits_in(source: str) -> str:
    """The (cluster, hour, run_id, revision) that the column `footer` of a relation tells."""
    rows = f"select unnest(from_json(decode(footer), '{COMMIT_JSON}')) as row from {source}"
    return f"select row.cluster, row.hour_utc, row.run_id, row.revision from ({rows})"


def glob_escaped(root: Path) -> str:
    """The path with `*`, `?` and `[` meaning themselves."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(root))


def quoted(text: str) -> str:
    """A string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _by_partition(root: Path, table: str, key: str, digest: str) -> str:
    """(cluster, date, source_digest, footer) of every file of a table; the last two null without such a footer."""
    if not has_files(root, table):
        return """select null::varchar as cluster, null::date as date, null::varchar as source_digest,
            null::blob as footer where false"""
    cluster, day = (told.format(path="file_name") for told in (CLUSTER_OF_PATH, DATE_OF_PATH))
    footer = f"any_value(value) filter (key = '{key}') as footer"
    return f"""select {cluster} as cluster, {day} as date, {digest} as source_digest, footer
        from (select file_name, {footer} from parquet_kv_metadata({_glob(root, table)}) group by file_name)"""


def _glob(root: Path, table: str) -> str:
    return quoted(f"{glob_escaped(root)}/{partition_glob(table)}")
