"""What is known of something over an interval, from what was seen around it."""

import numpy as np
import pytest

from pipeline.transforms.sightings import Sightings

GAP_MS = 600_000


def found(seen: list[tuple[int, int, int]], key: int, start_s: int, end_s: int) -> int:
    """The fact of one key over one interval; `seen`: (key, second, fact)."""
    key_, second, fact = (np.array(column, dtype=np.int64) for column in zip(*seen, strict=True))
    sightings = Sightings.of(key_, second * 1000, fact)
    return int(sightings.find(np.array([key]), np.array([start_s * 1000]), np.array([end_s * 1000]), GAP_MS)[0])


@pytest.mark.parametrize(
    ("seen", "fact"),
    [
        ([(1, 1000, 5)], 5),
        ([(1, 1000, 5), (1, 1020, 6)], 5),  # the first from the end on
        ([(1, 990, 5), (1, 1020, 6)], 6),  # later labels hold for earlier samples
        ([(1, 990, 5)], 5),
        ([(1, 990, 5), (1, 995, 6)], 6),
        ([(1, 1570, 5)], 5),
        ([(1, 1571, 5)], -1),  # beyond start + max_gap
        ([(1, 400, 5)], 5),
        ([(1, 399, 5)], -1),  # before end - max_gap
        ([(0, 1000, 5), (2, 1000, 6)], -1),
        ([(1, 1000, -1), (-1, 1000, 3)], -1),
    ],
)
def test_the_nearest_later_sighting_holds_else_the_last_before(seen: list[tuple[int, int, int]], fact: int) -> None:
    assert found(seen, 1, 970, 1000) == fact


def test_an_unknown_key_has_no_fact() -> None:
    assert found([(0, 1000, 5)], -1, 970, 1000) == -1


def test_the_order_of_sightings_does_not_matter() -> None:
    seen = [(1, 1000, 6), (1, 1000, 5), (0, 1000, 9), (1, 980, 4)]
    assert found(seen, 1, 970, 1000) == found(seen[::-1], 1, 970, 1000) == 5
