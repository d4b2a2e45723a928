"""When pods started, as known around an hour or around an edge."""

import numpy as np
import pytest

from pipeline.starts import UNKNOWN, Starts
from pipeline.units import MS_PER_HOUR as HOUR

FIRST = 1_000 * HOUR
AROUND = [[1.0, 2.0, 3.0, 4.0, np.nan], [np.nan, 20.0, np.nan, np.nan, np.nan]]  # edge, hour, edge, hour, edge


def start(pod: str, begin_ms: int, end_ms: int, starts: Starts | None = None) -> float:
    starts = starts or Starts(FIRST, {"a": 0, "b": 1}, np.array(AROUND).T)
    of = starts.of(starts.rows([pod]), np.array([FIRST + begin_ms]), np.array([FIRST + end_ms]))
    return float(of[0])


@pytest.mark.parametrize(
    ("begin_ms", "end_ms", "known"),
    [
        (10, 20, 2),  # within the first hour
        (0, HOUR, 2),  # from edge to edge: an end on the edge is of the hour before
        (HOUR - 10, HOUR + 10, 3),  # across the edge
        (HOUR, HOUR + 10, 4),  # a beginning on the edge is of the hour after
        (-10, 10, 1),  # across the first edge
        (-20, -10, 1),  # before: nothing of the window hangs on it
    ],
)
def test_what_is_known_of_a_birth_is_of_its_own_neighbourhood(begin_ms: int, end_ms: int, known: int) -> None:
    assert start("a", begin_ms, end_ms) == known


def test_what_was_not_seen_there_is_not_known() -> None:
    assert start("b", 10, 20) == 20
    assert np.isnan(start("b", HOUR - 10, HOUR + 10))
    assert np.isnan(start("a", 2 * HOUR - 1, 2 * HOUR + 1))
    assert np.isnan(start("nobody", 10, 20))


def test_one_knowledge_may_hold_always() -> None:
    always = Starts.always({"a": 7})
    assert [start("a", begin, begin + 10, always) for begin in (-HOUR, 0, HOUR - 5, 9 * HOUR)] == [7] * 4
    assert np.isnan(start("a", 0, 1, UNKNOWN))
