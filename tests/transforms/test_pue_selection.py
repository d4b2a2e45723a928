"""The newest vintage gives an hour its PUE, and what is stored says the same as what was offered."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tables import PUE
from pipeline.transforms.emissions import NO_PUE, Pue
from pipeline.transforms.pue_selection import PueVintages, changed_pues, hours_to_ask

HOUR = timedelta(hours=1)
START = datetime(2026, 11, 1, tzinfo=UTC)
HOURS = [START + n * HOUR for n in range(12)]


def vintage(
    first: int, last: int, ratio: float | None, fetched: int = 0, updated: int | None = None, source: str = "csv"
) -> dict[str, Any]:
    """Of hours `first` to `last`, itself outside; fetched and updated so many minutes after START."""
    return {
        "cluster": "c", "start_utc": START + first * HOUR, "end_utc": START + last * HOUR, "pue_ratio": ratio,
        "source": source, "updated_utc": None if updated is None else START + timedelta(minutes=updated),
        "fetched_utc": START + timedelta(minutes=fetched),
    }  # fmt: skip


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), PUE)


def by_hour(*rows: dict[str, Any]) -> list[float | None]:
    found = PueVintages(table(*rows)).at(HOURS)
    assert list(found) == HOURS
    return [found[hour].ratio for hour in HOURS]


def test_of_several_vintages_of_an_hour_the_newest_counts_and_an_older_one_shows_beside_it() -> None:
    found = by_hour(vintage(0, 6, 1.5, fetched=1), vintage(2, 4, 1.2, fetched=2), vintage(3, 8, 1.8, fetched=0))
    assert found[:9] == [1.5, 1.5, 1.2, 1.2, 1.5, 1.5, 1.8, 1.8, None]


def test_of_vintages_fetched_together_the_one_updated_last_counts_whatever_their_order() -> None:
    rows = [vintage(0, 2, 1.1, 5), vintage(0, 2, 1.3, 5, updated=9), vintage(0, 2, 1.2, 5, updated=7)]
    assert by_hour(*rows)[:2] == by_hour(*reversed(rows))[:2] == [1.3, 1.3]
    assert by_hour(*rows, vintage(0, 1, 1.4, 6))[:2] == [1.4, 1.3], "fetched later counts before updated later"


def test_a_withdrawn_figure_is_none_and_uncovers_no_older_one() -> None:
    found = PueVintages(table(vintage(0, 3, 1.5, 1), vintage(1, 2, None, 2))).at(HOURS[:4])
    assert list(found.values()) == [Pue(1.5, "csv"), NO_PUE, Pue(1.5, "csv"), NO_PUE]


def test_without_vintages_no_hour_has_one() -> None:
    assert by_hour() == [None] * 12
    assert PueVintages(PUE.empty_table()).at([]) == {}


def test_young_hours_are_asked_again_and_old_ones_where_nothing_is_stored() -> None:
    hours = [START + n * HOUR for n in range(72)]
    stored = PueVintages(table(vintage(0, 10, 1.5), vintage(12, 40, None), vintage(60, 62, 1.5)))
    now = hours[-1] + 30 * timedelta(minutes=1)
    young = [n for n in range(72) if 23 <= n <= 70]  # 23 ended 47.5 h ago, 71 is not over
    assert [hours.index(hour) for hour in hours_to_ask(reversed(hours), stored, now)] == [10, 11, *young]


def test_the_age_of_48_hours_itself_is_not_young() -> None:
    stored = PueVintages(table(vintage(0, 1, 1.5)))
    assert hours_to_ask([START], stored, START + HOUR + timedelta(hours=48)) == []
    assert hours_to_ask([START], stored, START + HOUR + timedelta(hours=48, seconds=-1)) == [START]
    assert hours_to_ask([START], PueVintages(PUE.empty_table()), START + HOUR) == [START]
    assert hours_to_ask([START], PueVintages(PUE.empty_table()), START + HOUR - timedelta(seconds=1)) == []


def spans(changed: pa.Table) -> list[tuple[int, int, float | None]]:
    return [
        ((row["start_utc"] - START) // HOUR, (row["end_utc"] - START) // HOUR, row["pue_ratio"])
        for row in changed.to_pylist()
    ]


def test_what_is_known_already_is_not_stored_again() -> None:
    offered = table(vintage(0, 8, 1.5, fetched=9))
    assert spans(changed_pues(offered, PUE.empty_table())) == [(0, 8, 1.5)]
    assert spans(changed_pues(offered, table(vintage(0, 8, 1.5)))) == []
    assert spans(changed_pues(offered, table(vintage(0, 3, 1.5), vintage(3, 8, 1.5)))) == []
    assert spans(changed_pues(offered, table(vintage(0, 8, 1.5 * (1 + 1e-12))))) == [], "one server adds in any order"
    assert spans(changed_pues(offered, table(vintage(0, 8, 1.5 + 1e-6)))) == [(0, 8, 1.5)]


def test_only_the_hours_that_differ_are_stored() -> None:
    stored = table(vintage(0, 4, 1.5), vintage(4, 6, 1.2), vintage(6, 10, 1.5))
    assert spans(changed_pues(table(vintage(0, 8, 1.5, fetched=9)), stored)) == [(4, 6, 1.5)]
    assert spans(changed_pues(table(vintage(8, 12, 1.5, fetched=9)), stored)) == [(10, 12, 1.5)]


def test_a_withdrawal_and_its_end_are_changes() -> None:
    assert spans(changed_pues(table(vintage(0, 1, None, 9)), table(vintage(0, 1, 1.5)))) == [(0, 1, None)]
    assert spans(changed_pues(table(vintage(0, 1, None, 9)), table(vintage(0, 1, None)))) == []
    assert spans(changed_pues(table(vintage(0, 1, 1.5, 9)), table(vintage(0, 1, None)))) == [(0, 1, 1.5)]


def test_a_file_with_two_vintages_of_an_hour_does_not_take_turns() -> None:
    """Stored anew beside a known newer one, the older would be the newest fetched, and the next read the other."""
    lines = [(0, 4, 1.5, 1), (0, 2, 1.2, 2)]
    stored = PUE.empty_table()
    for run in range(3):
        offered = table(*(vintage(first, last, ratio, 10 + run, at) for first, last, ratio, at in lines))
        changed = changed_pues(offered, stored)
        assert (run == 0) == (changed.num_rows > 0)
        stored = pa.concat_tables([stored, changed])
    assert by_hour(*stored.to_pylist())[:4] == [1.2, 1.2, 1.5, 1.5]


LINES = st.lists(
    st.tuples(
        st.integers(0, 9), st.integers(1, 6), st.sampled_from([1.0, 1.2, 1.5, None]), st.none() | st.integers(0, 3)
    ),
    max_size=6,
)


@given(st.lists(LINES, max_size=4))
def test_what_is_stored_run_by_run_says_what_the_newest_offer_says(offers: list[Any]) -> None:
    """Independent truth: the rule read off hour by hour, each offer over what was known before."""
    stored, expected = PUE.empty_table(), dict.fromkeys(range(16))
    for run, lines in enumerate(offers):
        rows = [vintage(first, first + length, ratio, run, at) for first, length, ratio, at in lines]
        changed = changed_pues(table(*rows), stored)
        stored = pa.concat_tables([stored, changed])
        for n in expected:
            told = [
                (at is not None, at or 0, i)
                for i, (first, length, _, at) in enumerate(lines)
                if 0 <= n - first < length
            ]
            if told:
                expected[n] = lines[max(told)[2]][2]
        again = table(*(row | {"fetched_utc": START + timedelta(minutes=90)} for row in rows))
        assert changed_pues(again, stored).num_rows == 0, "the same offer changes nothing"
    found = PueVintages(stored).at(START + n * HOUR for n in expected)
    assert [pue.ratio for pue in found.values()] == list(expected.values())
