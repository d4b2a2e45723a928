"""A declaration is stored whole when any of it differs, for the clusters that it is of."""

from datetime import UTC, datetime

import pyarrow as pa

from pipeline.tables import CLUSTER_ZONES
from pipeline.transforms.declared import restated

BEFORE, NOW = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)


def declared(fetched_utc: datetime, *pairs: tuple[str, str | None]) -> pa.Table:
    rows = [
        dict.fromkeys(CLUSTER_ZONES.names) | {"cluster": cluster, "zone": zone, "fetched_utc": fetched_utc}
        for cluster, zone in pairs
    ]
    return pa.Table.from_pylist(rows, CLUSTER_ZONES)


def stored(told: pa.Table, known: pa.Table, *clusters: str) -> list[tuple[str, str | None, datetime]]:
    fresh = restated(told, known, clusters, NOW)
    assert fresh.schema == CLUSTER_ZONES
    return [(row["cluster"], row["zone"], row["fetched_utc"]) for row in fresh.to_pylist()]


def test_what_is_told_again_in_any_order_is_not_stored() -> None:
    assert stored(declared(NOW, ("a", "x"), ("a", "y")), declared(BEFORE, ("a", "y"), ("a", "x")), "a") == []


def test_one_changed_line_stores_all_of_its_cluster_and_none_of_another() -> None:
    known = declared(BEFORE, ("a", "x"), ("a", "y"), ("b", "z"))
    told = declared(NOW, ("a", "x"), ("a", "Y"), ("b", "z"))
    assert stored(told, known, "a", "b") == [("a", "x", NOW), ("a", "Y", NOW)]


def test_a_first_declaration_is_stored_and_none_is_not() -> None:
    assert stored(declared(NOW, ("a", "x")), declared(BEFORE), "a", "b") == [("a", "x", NOW)]


def test_a_withdrawal_is_one_row_of_nothing_once() -> None:
    withdrawn = stored(declared(NOW), declared(BEFORE, ("a", "x"), ("a", "y")), "a")
    assert withdrawn == [("a", None, NOW)]
    assert stored(declared(NOW), declared(BEFORE, ("a", None)), "a") == []


def test_clusters_of_another_configuration_stay() -> None:
    assert stored(declared(NOW, ("a", "x")), declared(BEFORE, ("a", "x"), ("other", "y")), "a") == []


def test_a_line_that_stands_once_more_is_a_difference() -> None:
    assert len(stored(declared(NOW, ("a", "x"), ("a", "x")), declared(BEFORE, ("a", "x")), "a")) == 2
