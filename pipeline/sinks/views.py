"""DuckDB views over the parquet tables: in memory for this program, in `carbon.duckdb` for everyone else.

Views and macros only, never rows: a `.duckdb` file locks its readers out while someone writes it. Paths are absolute; a
table without a file is a typed empty view, because a glob that matches nothing is an error in DuckDB.
"""

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import duckdb

from pipeline.errors import StoreFull, StoreUnwritable
from pipeline.sinks import scans
from pipeline.sinks.closings import CLOSING_VIEWS
from pipeline.sinks.daily import DAILY_VIEW
from pipeline.sinks.idle import IDLE_VIEWS
from pipeline.sinks.instances import Instance, create, show_kept
from pipeline.sinks.listings import Listing, listings
from pipeline.sinks.months import TABLES_OF_MONTHS
from pipeline.sinks.partitions import MAKE_ROOM, make_folder, store_errors, sync_folder
from pipeline.sinks.signals import MACROS, SIGNAL_VIEWS
from pipeline.sinks.teams import TABLE_MACROS, TEAM_VIEWS
from pipeline.tables import APPEND_ONLY_TABLES

DATABASE = "carbon.duckdb"
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
NOT_LISTED: Mapping[str, Listing] = MappingProxyType({})
STORAGE_VERSION = "v1.4.0"  # what the oldest supported DuckDB opens
SOURCES = re.compile(r"\b(?:from|join)\s+([\w.]+)|\b(\w+)\(")  # as the texts here spell relations and macros


def _of_commits(rows: str, digests: str, footers: str) -> str:
    """The rows of commits that happened: of a file with the digest of the emissions beside it all, of others some.

    As in `DAILY_VIEW`, both branches see one list of what is in doubt: mostly nothing, which costs no row anything.
    """
    return f"""
        with doubtful as not materialized (
            select cluster, date, source.footer
            from {digests} as told left join {footers} as source using (cluster, date)
            where told.source_digest is null or told.source_digest is distinct from source.source_digest
        )
        from {rows} anti join doubtful using (cluster, date)
        union all by name
        from {rows} semi join doubtful using (cluster, date)
        semi join ({scans.commits_in("doubtful")}) using (cluster, hour_utc, run_id, revision)"""


DOUBTFUL_NODE_ENERGY = "doubtful_node_energy", "node_energy_digests", "doubtful_footers_of_node_energy"

# In schema `stored` are the rows as they lie there; the view of a table's own name shows those that count.
DERIVED = {
    "stored.commits": scans.commits_in("stored.footers"),
    "stored.commit_log": "select distinct cluster, hour_utc, run_id, revision from stored.hours where store is null",
    "emissions": "from stored.emissions",
    "emissions_daily": DAILY_VIEW,
    **{
        f"stored.{table}": f"from stored.certain_{table} union all by name from stored.doubtful_{table}"
        for table in TABLES_OF_MONTHS
    },
    "node_energy": f"""
        from stored.certain_node_energy union all by name
        ({_of_commits(*(f"stored.{view}" for view in DOUBTFUL_NODE_ENERGY))})""",
    "processes": _of_commits("stored.processes", "stored.processes_digests", "stored.footers"),
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
    **CLOSING_VIEWS,
    **TEAM_VIEWS,
    **IDLE_VIEWS,
}


# Everything in the order in which it can be made; what a view of files is made of has no name here.
TEXTS = MACROS | dict.fromkeys(scans.VIEWS_OF_FILES, "") | DERIVED | TABLE_MACROS
# Where no day is in doubt: to make and plan what shows nothing costs as much as what shows something.
CERTAIN = {table: f"from stored.certain_{table}" for table in TABLES_OF_MONTHS}


def definitions(
    root: Path, listed: Mapping[str, Listing] = NOT_LISTED, names: Collection[str] = tuple(TEXTS)
) -> dict[str, str]:
    """The SQL of views and macros by name, in the order in which they can be made; it names the tables that have files.

    Args:
        root: the warehouse.
        listed: files by table: for views that are used now, for files change.
        names: only these.
    """
    root = root.absolute()
    told = {name: scans.view_of_files(root, name, listed) for name in scans.VIEWS_OF_FILES if name in names}
    if _is_certain(listed):
        told |= CERTAIN
    return {name: told.get(name, text) for name, text in TEXTS.items() if name in names}


def open_views(
    root: Path, query: str | None = None, settings: Mapping[str, str] = NO_SETTINGS
) -> duckdb.DuckDBPyConnection:
    """A connection in memory with the views, in UTC, that can read the tables under `root` and nothing else.

    Ask of it what there is now: files are listed when it is made. Close it after use. Its settings are locked.

    Args:
        root: the warehouse.
        query: have only the views that this text can mean, or all where it names none.
        settings: of DuckDB; with some, the database is none that other questions are asked of.
    """
    root = root.absolute()

    def texts() -> dict[str, str]:
        listed = listings(root, {scans.LISTED[name] for name in _meant(query) & scans.LISTED.keys()})
        return definitions(root, listed, _meant(query, is_certain=_is_certain(listed)))

    return Instance(root, settings, has_footers=True).show(texts()) if settings else show_kept(root, texts)


def _is_certain(listed: Mapping[str, Listing]) -> bool:
    """Whether files are listed and no day is in doubt."""
    return "emissions" in listed and not listed["emissions"].doubtful


def _meant(query: str | None, *, is_certain: bool = False) -> frozenset[str]:
    """What a query names, and what that is made of; everything where it names nothing."""
    words = set(re.findall(r"\w+", (query or "").lower()))
    named = [name for name in TEXTS if words.issuperset(_plain(name).split("."))]
    return frozenset().union(*(_made_of(name, is_certain) for name in named)) or frozenset(TEXTS)


@cache
def _made_of(name: str, is_certain: bool) -> frozenset[str]:  # noqa: FBT001 # a key of the cache
    """It, and the views and macros that it is made of."""
    text = CERTAIN.get(name, TEXTS[name]) if is_certain else TEXTS[name]
    named = set(chain.from_iterable(SOURCES.findall(text)))
    others = (other for other in TEXTS if other != name and _plain(other) in named)
    return frozenset({name}).union(*(_made_of(other, is_certain) for other in others))


def _plain(name: str) -> str:
    """Without the parameters of a macro."""
    return name.partition("(")[0]


def refresh_database(root: Path) -> bool:
    """Rebuild `carbon.duckdb` if the folder, the definitions or the set of tables with files changed.

    Built aside and renamed, so that who has it open keeps reading the old one. Its times show in the session's zone.

    Returns:
        Whether it was rebuilt.

    Raises:
        StoreFull, StoreUnwritable: the old one stands.
    """
    root = root.absolute()
    texts = definitions(root)
    digest = hashlib.sha256("\n".join(f"{name}: {text}" for name, text in texts.items()).encode()).hexdigest()
    path = root / DATABASE
    if _digest(path) == digest:
        return False
    temporary = path.with_name(f".{DATABASE}.{os.getpid()}.tmp")
    with store_errors(path):
        make_folder(root)
        try:
            _build(temporary, texts | {"about": f"select '{digest}' as definitions_sha256"})
            temporary.chmod(temporary.stat().st_mode & 0o640)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(root)
    return True


def _build(path: Path, texts: dict[str, str]) -> None:
    path.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(path), config={"storage_compatibility_version": STORAGE_VERSION}) as connection:
            create(connection, texts, {})
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        if "No space left" in reason:
            raise StoreFull(f"cannot write {path}: {reason}; {MAKE_ROOM}") from error
        raise StoreUnwritable(f"cannot write {path}: {reason}") from error


def _digest(path: Path) -> str | None:
    """What the file says it was built from; None if there is none or it cannot say."""
    if not path.exists():
        return None
    with suppress(duckdb.Error), duckdb.connect(str(path), read_only=True) as connection:
        row = connection.execute("select definitions_sha256 from about").fetchone()
        return None if row is None else str(row[0])
    return None
