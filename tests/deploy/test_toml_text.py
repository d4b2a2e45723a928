"""A configuration written as TOML reads back as it was."""

import tomllib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.deployment.toml_text import to_toml

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.one_of(
    TEXT, st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), st.lists(TEXT)
)
TABLES = st.recursive(
    st.dictionaries(TEXT, VALUES, max_size=4),
    lambda inner: st.dictionaries(TEXT, st.one_of(VALUES, inner, st.lists(inner, min_size=1, max_size=3)), max_size=4),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(TABLES)
def test_any_table_reads_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(table)) == table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=90), "90s"),
        (timedelta(minutes=90), "90m"),
        (timedelta(hours=36), "36h"),
        (timedelta(days=30), "30d"),
    ],
)
def test_durations_are_in_the_largest_unit_that_is_exact(value: timedelta, text: str) -> None:
    assert tomllib.loads(to_toml({"v": value})) == {"v": text}


def test_moments_keep_their_zone() -> None:
    assert tomllib.loads(to_toml({"start": datetime(2026, 10, 1, tzinfo=UTC)})) == {
        "start": "2026-10-01T00:00:00+00:00"
    }
