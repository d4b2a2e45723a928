"""The files of a table as SQL: what DuckDB is told of columns, partitions and footers, so that it need not find out.

Columns come from the schema and not from the files: to unite what files hold, every query would have to open all of
them before it begins. A column that a file of an older schema version lacks reads as null. Partition columns come from
the path, so that a filter on them leaves files unopened.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from pipeline.sinks.appended import superseded
from pipeline.sinks.commits import FOOTER_KEY
from pipeline.sinks.daily import DIGEST_KEY, DIGEST_LETTERS
from pipeline.sinks.listings import Listing
from pipeline.sinks.months import TABLES_OF_MONTHS
from pipeline.sinks.partitions import has_files, partition_glob
from pipeline.tables import APPEND_ONLY_TABLES, REPLACED_TABLES, TABLES, partition_column

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
    # one a table: questions about one of them leave the other's views as they are
    **{f"stored.doubtful_footers_of_{table}": ("emissions", FOOTER_KEY, SHA) for table in TABLES_OF_MONTHS},
    **{f"stored.{table}_digests": (table, DIGEST_KEY, "decode(footer)") for table in ("processes", *TABLES_OF_MONTHS)},
}
# Views of rows: the table. Those of `TABLES_OF_MONTHS` lie apart: what a listing says to count, and what is in doubt.
ROWS = {
    **{f"stored.{table}": table for table in TABLES if table not in TABLES_OF_MONTHS},
    **{f"stored.{part}_{table}": table for table in TABLES_OF_MONTHS for part in ("certain", "doubtful")},
    "stored.doubtful_emissions": "emissions",
}
VIEWS_OF_FILES = (*ROWS, *FOOTERS)
LISTED = {  # by the view: whose listing tells its files
    **{f"stored.{table}": table for table in APPEND_ONLY_TABLES},
    **{name: table for name, table in ROWS.items() if "certain_" in name or "doubtful_" in name},
    **{f"stored.{table}_digests": table for table in TABLES_OF_MONTHS},
    **{f"stored.doubtful_footers_of_{table}": "emissions" for table in TABLES_OF_MONTHS},
}
NO_FOOTERS = """select null::varchar as cluster, null::date as date, null::varchar as source_digest,
            null::blob as footer where false"""


def view_of_files(root: Path, name: str, listed: Mapping[str, Listing]) -> str:
    """One of `VIEWS_OF_FILES` as SQL: a table's rows, or what footers tell without their rows.

    Args:
        root: the warehouse.
        name: of the view.
        listed: files by table, for views that are used now; of other tables it is what is there when they are used.
    """
    months, days = _files(root, name, listed)
    if name in FOOTERS:
        return _by_partition(days, *FOOTERS[name][1:])
    table = ROWS[name]
    types, of_path = _types(table), {partition_column(table): DATE_OF_PATH.format(path="filename")}
    if table in REPLACED_TABLES:
        of_path["cluster"] = CLUSTER_OF_PATH.format(path="filename")
    of_days = _read(days, types, of_path)
    if table in NATURAL_KEYS and table not in listed:
        gone = [str(root / path) for path in sorted(superseded(root)) if path.startswith(f"{table}/")]
        of_days += f" where filename not in {_listed(gone)}" if gone else ""
    parts = [read for files, read in ((months, _read(months, types, {})), (days, of_days)) if files]
    rows = " union all ".join(parts) or without_files(name)
    return f"select distinct on ({NATURAL_KEYS[table]}) * from ({rows})" if table in NATURAL_KEYS and parts else rows


def without_files(name: str) -> str:
    """The same without a row, and its types."""
    if name in FOOTERS:
        return NO_FOOTERS
    nulls = [f'null::{kind} as "{column}"' for column, kind in _types(ROWS[name]).items()]
    return f"select {', '.join(nulls)} where false"


def _types(table: str) -> dict[str, str]:
    """Column to type, the partition's last."""
    schema = TABLES[table]
    types = dict(zip(schema.names, (DUCKDB_TYPES[kind] for kind in schema.types), strict=True))
    return types | {partition_column(table): "date"}


def _read(files: Sequence[str], types: Mapping[str, str], of_path: Mapping[str, str]) -> str:
    """Columns of these types, some by an expression of the file's path."""
    stored = {name: kind for name, kind in types.items() if name not in of_path}
    fields = [f"'{name}': {{name: '{name}', type: '{kind}', default_value: null}}" for name, kind in stored.items()]
    columns = [f"{of_path[name]} as {name}" if name in of_path else f'"{name}"' for name in types]
    return f"""select {", ".join(columns)}
        from read_parquet({_listed(files)}, schema = map {{{", ".join(fields)}}}, filename = true)"""


def commits_in(source: str) -> str:
    """The (cluster, hour, run_id, revision) that the column `footer` of a relation tells."""
    rows = f"select unnest(from_json(decode(footer), '{COMMIT_JSON}')) as row from {source}"
    return f"select row.cluster, row.hour_utc, row.run_id, row.revision from ({rows})"


def glob_escaped(path: Path | str) -> str:
    """The path with `*`, `?` and `[` meaning themselves."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))


def quoted(text: str) -> str:
    """A string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _by_partition(files: Sequence[str], key: str, digest: str) -> str:
    """(cluster, date, source_digest, footer) of every file; the last two null without such a footer."""
    if not files:
        return NO_FOOTERS
    cluster, day = (told.format(path="file_name") for told in (CLUSTER_OF_PATH, DATE_OF_PATH))
    footer = f"any_value(value) filter (key = '{key}') as footer"
    return f"""select {cluster} as cluster, {day} as date, {digest} as source_digest, footer
        from (select file_name, {footer} from parquet_kv_metadata({_listed(files)}) group by file_name)"""


def _files(root: Path, name: str, listed: Mapping[str, Listing]) -> tuple[list[str], list[str]]:
    """Of a view the files of months, and those of days or one pattern of all of them."""
    table, is_doubtful = ROWS[name] if name in ROWS else FOOTERS[name][0], name not in ROWS or "doubtful_" in name
    if name in LISTED and table in listed:
        of_table = listed[table]
        months, days = ([], of_table.doubtful) if is_doubtful else (of_table.months, of_table.days)
        return [*map(glob_escaped, months)], [*map(glob_escaped, days)]
    if "certain_" in name or not has_files(root, table):
        return [], []
    return [], [f"{glob_escaped(root)}/{partition_glob(table)}"]


def _listed(texts: Iterable[str]) -> str:
    """A list of SQL."""
    return f"[{', '.join(map(quoted, texts))}]"
