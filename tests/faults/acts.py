"""Every story told without a fault, once for all workers of a session: what the disturbed ones are held against."""

import fcntl
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.effects import points
from tests.faults.readers import NOTHING, State, state
from tests.faults.scenes import STORIES, Outcome, Place, Scene, well
from tests.faults.victims import Victims

NewPlace = Callable[[str], Place]
Stories = dict[str, list["Act"]]


@dataclass(frozen=True)
class Act:
    """A scene as it is when nothing happens: its effects, what it leaves, what readers see before and after."""

    scene: Scene
    effects: list[str]
    outcome: Outcome
    before: State
    after: State

    @property
    def points(self) -> list[int]:
        """Before which of its effects it can die."""
        return points(self.effects)


def told_once(base: Path, place: NewPlace, victims: Victims) -> Stories:
    """The stories, told by whichever worker comes first; `base` is the temporary folder of this one."""
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    stories = folder / "stories"
    with (folder / "stories.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stories.exists():
            stories.write_bytes(pickle.dumps(_told(place, victims)))
    return pickle.loads(stories.read_bytes())  # type: ignore[no-any-return] # noqa: S301 # written above


def _told(place: NewPlace, victims: Victims) -> Stories:
    stories: Stories = {}
    for name, scenes in STORIES.items():
        own, before = place(f"calm-{name}"), NOTHING
        stories[name] = []
        for number, scene in enumerate(scenes):
            ended = well(scene.play(own, victims, 10 * number))
            after = state(own.warehouse)
            stories[name].append(Act(scene, ended.effects, Outcome.of(own), before, after))
            before = after
    return stories
