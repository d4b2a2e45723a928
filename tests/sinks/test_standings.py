"""What the rows of `hours` about one store add up to."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from pipeline.sinks.standings import Standing, Told, standings
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import HOURS

HOUR = datetime(2026, 11, 1, 8, tzinfo=UTC)
ROWS = [  # hours after HOUR, store, state, revision, reason
    (2, "vm", "no", 0, "unreachable"),
    (3, "vm", "yes", 0, None),
    (9, "vm", "yes", 1, "2 series differ"),
    (30, "vm", "no", 2, "3 series hold another value"),
    (40, "other", "yes", 2, None),
    (41, None, "complete", 2, None),
]


def at(hours: int) -> datetime:
    return HOUR + timedelta(hours=hours)


def test_the_newest_row_counts_and_what_was_published_before_is_remembered(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    for cluster in ("prod", "test"):
        for age, store, state, revision, reason in ROWS[: 4 if cluster == "test" else None]:
            row = {"cluster": cluster, "hour_utc": HOUR, "store": store, "state": state, "run_id": f"{cluster}{age}"}
            row |= {"revision": revision, "reason": reason, "written_utc": at(age)}
            table = pa.Table.from_pylist([dict.fromkeys(HOURS.names) | row], HOURS)
            warehouse.append("hours", table, f"{cluster}{age}", at(age).date())
    expected = Standing(Told("no", 2, None, "3 series hold another value"), at(2), at(9))
    assert standings(tmp_path, "prod", "vm") == standings(tmp_path, "test", "vm") == {HOUR: expected}
    assert standings(tmp_path, "prod", "other") == {HOUR: Standing(Told("yes", 2, None, None), at(40), at(40))}
    assert standings(tmp_path, "test", "other") == {}


def test_an_hour_never_published_has_no_time_of_it_and_a_warehouse_without_rows_no_standing(tmp_path: Path) -> None:
    assert standings(tmp_path, "prod", "vm") == {}
    row = {"cluster": "prod", "hour_utc": HOUR, "store": "vm", "state": "beyond_horizon", "written_utc": at(1)}
    table = pa.Table.from_pylist([dict.fromkeys(HOURS.names) | row], HOURS)
    Warehouse(tmp_path).append("hours", table, "run", at(1).date())
    assert standings(tmp_path, "prod", "vm") == {HOUR: Standing(Told("beyond_horizon", None, None, None), at(1), None)}
    assert not Told("yes", 1, 5, None).shows(2)
    assert not Told("no", 2, 5, None).shows(2)
    assert Told("yes", 2, 5, "1 series differs").shows(2)
