"""Several questions at once, and the next thing made while one is worked on: order and errors stay."""

import threading
from collections.abc import Callable

import pytest

from pipeline.sources.concurrency import at_once

PATIENCE_SECONDS = 30


class Meeting:
    """Questions that answer only once so many of them are asked."""

    def __init__(self, count: int) -> None:
        self._barrier = threading.Barrier(count, timeout=PATIENCE_SECONDS)
        self._lock, self.asked, self.most = threading.Lock(), 0, 0

    def question(self, number: int) -> Callable[[], int]:
        def ask() -> int:
            with self._lock:
                self.asked += 1
                self.most = max(self.most, self.asked)
            self._barrier.wait()
            with self._lock:
                self.asked -= 1
            self._barrier.wait()
            return number

        return ask


@pytest.mark.parametrize("most", [1, 2, 3])
def test_so_many_questions_wait_at_once_and_answers_keep_their_order(most: int) -> None:
    meeting = Meeting(most)
    assert at_once([meeting.question(number) for number in range(6)], most) == list(range(6))
    assert meeting.most == most


def test_of_several_errors_the_first_in_order_is_raised() -> None:
    later = threading.Event()

    def first() -> int:
        assert later.wait(PATIENCE_SECONDS)
        raise ValueError("first")

    def second() -> int:
        later.set()
        raise KeyError("second")

    with pytest.raises(ValueError, match="first"):
        at_once([first, second], 2)


def test_once_a_question_has_failed_those_behind_it_are_not_asked() -> None:
    asked = list[int]()

    def failing() -> int:
        asked.append(1)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        at_once([failing] * 3, 1)
    with pytest.raises(ValueError, match="broken"):
        at_once([failing] * 1000, 2)
    assert 2 <= len(asked) <= 4


def test_no_question_has_no_answer() -> None:
    assert at_once(list[Callable[[], int]](), 4) == []


def test_nobody_waits_for_a_question_when_the_program_ends() -> None:
    daemons = at_once([lambda: threading.current_thread().daemon] * 2, 2)
    assert daemons == [True, True]
