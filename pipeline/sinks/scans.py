"""The files of a table as SQL: what DuckDB is told of columns, partitions and footers, so that it need not find out.

Columns come from the schema and not from the files: to unite what files hold, every query would have to open all of
them before it begins. A column that a file of an older schema version lacks reads as null. Partition columns come from
the path, so that a filter on them leaves files unopened.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa

from pipeline.sinks.appended import superseded
from pipeline.sinks.commits import FOOTER_KEY
from pipeline.sinks.daily import DIGEST_KEY, DIGEST_LETTERS
from pipeline.sinks.months import NO_MONTHS, TABLES_OF_MONTHS, Standing, loose
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

# Views of footers: the table, the entry, and what of it tells a state of the day.
SHA = f"left(sha256(footer), {DIGEST_LETTERS})"
FOOTERS = {
    "stored.footers": ("emissions", FOOTER_KEY, SHA),
    "stored.loose_footers": ("emissions", FOOTER_KEY, SHA),
    **{
        f"stored.{table}_digests": (table, DIGEST_KEY, "decode(footer)")
        for table in ("node_energy", "processes", "emissions_daily")
    },
}
VIEWS_OF_FILES = (*(f"stored.{table}" for table in TABLES), *FOOTERS)
VIEWS_OF_MONTHS = {  # where months are read by their own files
    "stored.loose_footers",
    *(f"stored.{table}{part}" for table in TABLES_OF_MONTHS for part in ("", "_digests")),
}
NO_FOOTERS = """select null::varchar as cluster, null::date as date, null::varchar as source_digest,
            null::blob as footer where false"""


def view_of_files(root: Path, name: str, months: Standing = NO_MONTHS) -> str:
    """One of `VIEWS_OF_FILES` as SQL: a table's rows, or what footers tell without their rows.

    The days of `months` belong together and are not in `loose_footers`, nor their tables' digests asked for.

    Args:
        root: the warehouse.
        name: of the view.
        months: their files are read instead of those of their days, where the table has such.
    """
    if name not in FOOTERS:
        return _rows_of(root, name.removeprefix("stored."), months)
    table, key, digest = FOOTERS[name]
    return _by_partition(_files(root, table, months if name in VIEWS_OF_MONTHS else NO_MONTHS), key, digest)


def without_files(name: str) -> str:
    """The same without a row, and its types."""
    if name in FOOTERS:
        return NO_FOOTERS
    nulls = [f'null::{kind} as "{column}"' for column, kind in _types(name.removeprefix("stored.")).items()]
    return f"select {', '.join(nulls)} where false"


def partition_column(table: str) -> str:
    """What the views call the date in a file's path: the day of its rows, or the day of writing them."""
    return "date" if table in REPLACED_TABLES else "written_date"


def _types(table: str) -> dict[str, str]:
    """Column to type, the partition's last."""
    schema = TABLES[table]
    types = dict(zip(schema.names, (DUCKDB_TYPES[kind] for kind in schema.types), strict=True))
    return types | {partition_column(table): "date"}


def _rows_of(root: Path, table: str, months: Standing) -> str:
    """A table's rows as stored, with its partition column; of a row that stands in two files one."""
    if not has_files(root, table):
        return without_files(f"stored.{table}")
    types = _types(table)
    of_path = {partition_column(table): DATE_OF_PATH.format(path="filename")}
    if table not in REPLACED_TABLES:
        gone = [quoted(str(root / name)) for name in sorted(superseded(root)) if name.startswith(f"{table}/")]
        standing = f" where filename not in ({', '.join(gone)})" if gone else ""
        return f"select distinct on ({NATURAL_KEYS[table]}) {_read(_files(root, table), types, of_path)}{standing}"
    of_path["cluster"] = CLUSTER_OF_PATH.format(path="filename")
    months = months if table in TABLES_OF_MONTHS else NO_MONTHS
    of_months = _listed(f"{glob_escaped(folder)}/{table}.parquet" for folder in months.values())
    parts = [(_files(root, table, months), of_path), (of_months, {})]
    return " union all ".join(f"select {_read(files, types, told)}" for files, told in parts if files)


def _read(files: str, types: Mapping[str, str], of_path: Mapping[str, str]) -> str:
    """What follows `select`: columns of these types, some by an expression of the file's path."""
    stored = {name: kind for name, kind in types.items() if name not in of_path}
    fields = [f"'{name}': {{name: '{name}', type: '{kind}', default_value: null}}" for name, kind in stored.items()]
    columns = [f"{of_path[name]} as {name}" if name in of_path else f'"{name}"' for name in types]
    return f"""{", ".join(columns)}
        from read_parquet({files}, schema = map {{{", ".join(fields)}}}, filename = true)"""


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


def _by_partition(files: str, key: str, digest: str) -> str:
    """(cluster, date, source_digest, footer) of every file; the last two null without such a footer."""
    if not files:
        return NO_FOOTERS
    cluster, day = (told.format(path="file_name") for told in (CLUSTER_OF_PATH, DATE_OF_PATH))
    footer = f"any_value(value) filter (key = '{key}') as footer"
    return f"""select {cluster} as cluster, {day} as date, {digest} as source_digest, footer
        from (select file_name, {footer} from parquet_kv_metadata({files}) group by file_name)"""


def _files(root: Path, table: str, months: Standing = NO_MONTHS) -> str:
    """SQL of the files of a table that lie in none of `months`; empty where there is none."""
    if not has_files(root, table):
        return ""
    if not months:
        return quoted(f"{glob_escaped(root)}/{partition_glob(table)}")
    return _listed(f"{glob_escaped(root)}/{pattern}" for pattern in loose(root, table, months))


def _listed(patterns: Iterable[str]) -> str:
    """A list of SQL, empty where it would be."""
    listed = ", ".join(quoted(pattern) for pattern in patterns)
    return listed and f"[{listed}]"
