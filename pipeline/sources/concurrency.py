"""Questions asked of a server at once; their answers keep the order of the questions.

Nobody waits for these threads when the program is to end: a server that is silent for a minute would hold it up.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
THREAD = "carbon-etl question"


def at_once(questions: Sequence[Callable[[], T]], most: int) -> list[T]:
    """Their answers, in the order of the questions; no more than `most` are asked at a time.

    Raises:
        Exception: of the first of them that fails; what was not asked by then is not asked any more.
    """
    if min(most, len(questions)) < 2:
        return [ask() for ask in questions]
    answers = [Future[T]() for _ in questions]
    waiting = deque(zip(questions, answers, strict=True))
    threads = [_started(waiting) for _ in range(min(most, len(questions)))]
    try:
        return [answer.result() for answer in answers]
    except Exception:
        for thread in threads:  # what is asked is still answered: the server has no more of us than it may have
            thread.join()
        raise
    finally:
        waiting.clear()


def _started(waiting: deque[tuple[Callable[[], T], Future[T]]]) -> Thread:
    """A thread that asks one after the other of what waits, until one fails."""

    def work() -> None:
        while waiting:
            try:
                ask, answer = waiting.popleft()
            except IndexError:  # another was quicker
                return
            try:
                answer.set_result(ask())
            except BaseException as error:  # noqa: BLE001 # raised again where the answer is taken
                waiting.clear()
                answer.set_exception(error)

    thread = Thread(target=work, name=THREAD, daemon=True)
    thread.start()
    return thread
