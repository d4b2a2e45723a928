"""The page of results says the same of the same points, whoever told them first."""

import random

from tests.faults.results import KILLED, Deaths, Point, page

POINTS = [
    Point(KILLED, "run", "before rename hours", passed=True, beside=True),
    Point(KILLED, "run", "before rename hours", passed=False),
    Point(KILLED, "reprice", "before write to store", passed=True),
    Point("A line to the store", "run", "drop", passed=True),
    Point("A line to the store", "run", "never came", passed=True, happened=False),
]
DEATHS = [Deaths("run", 40, 2), Deaths("reprice", 30, 1)]


def test_equal_points_give_an_equal_page() -> None:
    chance = random.Random(5)  # noqa: S311 # no secret
    pages = {page(chance.sample(POINTS, len(POINTS)), chance.sample(DEATHS, len(DEATHS))) for _ in range(20)}
    assert len(pages) == 1


def test_the_page_counts_what_happened_and_what_passed() -> None:
    text = page(POINTS, DEATHS)
    assert "**4 fault points, 3 passed; at 1 of them one read all the while.**" in text
    assert "| Killed before each effect | 3 | 2 |\n" in text
    assert "| run | before rename hours | 2 | 1 |\n" in text
    assert "| together | 70 | 3 |\n" in text
    assert "never came" not in text
