"""Which rows belong together, against a dictionary of tuples."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import equality
from pipeline.equality import key_ids, match_rows, rows_at

KEY = ("text", "number")
cells = st.tuples(st.sampled_from(["a", "b", "", "ä", None]), st.sampled_from([0, 1, -1, None]))
Cells = list[tuple[str | None, int | None]]


def table(rows: Cells) -> pa.Table:
    texts, numbers = [text for text, _ in rows], [number for _, number in rows]
    return pa.table({"text": pa.array(texts, pa.string()), "number": pa.array(numbers, pa.int64())})


@pytest.mark.parametrize("most", [2, equality.MAX_CODE])
def test_rows_have_one_number_exactly_where_their_keys_are_equal(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equality, "MAX_CODE", most)  # 2: as if every further column burst the number

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.lists(cells, max_size=8), min_size=1, max_size=3))
    def check(tables: list[Cells]) -> None:
        ids = np.concatenate(key_ids([table(rows) for rows in tables], KEY)).tolist()
        rows = [row for part in tables for row in part]
        assert sorted(set(ids)) == list(range(len(set(rows))))
        assert len(set(zip(ids, rows, strict=True))) == len(set(rows))

    check()


@settings(max_examples=100, deadline=None)
@given(st.lists(cells, unique=True, max_size=12), st.lists(cells, unique=True, max_size=12))
def test_rows_are_paired_by_key_and_the_others_stand_alone(old: Cells, new: Cells) -> None:
    found = match_rows(table(old), table(new), KEY)
    pairs = list(zip(found.old.tolist(), found.new.tolist(), strict=True))
    assert sorted(pairs) == sorted((old.index(row), n) for n, row in enumerate(new) if row in old)
    assert found.vanished.tolist() == [n for n, row in enumerate(old) if row not in new]
    assert found.appeared.tolist() == [n for n, row in enumerate(new) if row not in old]


def test_rows_are_taken_in_the_order_asked_for_and_not_copied_where_they_are_all_there() -> None:
    rows = table([("a", 0), ("b", 1), (None, None)])
    assert rows_at(rows, np.array([0, 1, 2])) is rows
    assert rows_at(rows, np.array([2, 0])).to_pylist() == [rows.to_pylist()[2], rows.to_pylist()[0]]
