"""The latest names near an hour, held against a loop over all sightings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.transforms.names import SeenNames
from pipeline.units import MS_PER_HOUR

START_MS, HOURS, GAP_MS = 1_793_606_400_000, 3, 600_000
EDGES = [hour * MS_PER_HOUR + beyond for hour in range(HOURS + 1) for beyond in (-GAP_MS, -1, 0, 1, GAP_MS)]
STAMPS = st.one_of(
    st.sampled_from(EDGES), st.sampled_from(EDGES).map(lambda ms: ms + 1), st.integers(-2 * GAP_MS, 4 * MS_PER_HOUR)
)
SIGHTINGS = st.lists(st.tuples(st.integers(0, 4), STAMPS, st.integers(0, 9)), max_size=40)


def seen(sightings: list[tuple[int, int, int]]) -> SeenNames:
    """In order, each stamp once."""
    once = sorted({(who, START_MS + ms): name for who, ms, name in sightings}.items())
    columns = [[who for (who, _), _ in once], [ms for (_, ms), _ in once], [name for _, name in once]]
    return SeenNames(*(np.array(column, dtype=np.int64) for column in columns))


def by_loop(names: SeenNames, before_ms: int, after_ms: int) -> list[list[int]]:
    found = [[-1] * HOURS for _ in range(5)]
    for who, stamp_ms, name in zip(*(column.tolist() for column in names), strict=True):
        for hour in range(HOURS):
            begin_ms = START_MS + hour * MS_PER_HOUR
            if begin_ms - before_ms < stamp_ms <= begin_ms + MS_PER_HOUR + after_ms:
                found[who][hour] = name
    return found


@given(sightings=SIGHTINGS, before_ms=st.sampled_from([0, GAP_MS, GAP_MS + 1]), after_ms=st.sampled_from([0, GAP_MS]))
def test_each_hour_has_the_last_name_seen_near_it(
    sightings: list[tuple[int, int, int]], before_ms: int, after_ms: int
) -> None:
    names = seen(sightings)
    assert names.latest(5, START_MS, HOURS, before_ms, after_ms).tolist() == by_loop(names, before_ms, after_ms)


@pytest.mark.parametrize("everybody", [0, 3])
def test_who_was_never_seen_has_no_name(everybody: int) -> None:
    assert seen([]).latest(everybody, START_MS, HOURS, 0, 0).tolist() == [[-1] * HOURS] * everybody


def test_of_several_names_at_one_stamp_the_last_counts() -> None:
    stamps = np.array([START_MS + 5, START_MS + 5])
    twice = SeenNames(np.zeros(2, dtype=np.int64), stamps, np.array([7, 3]))
    assert twice.latest(1, START_MS, 1, 0, 0).tolist() == [[3]]
