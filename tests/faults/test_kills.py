"""P7, exhaustively: killed between any two effects, a run is completed by the next, and no reader notices.

Where an effect leaves nothing to whoever comes after a death (a lock, a question, fsync), before and after it are one.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.faults.acts import Act, NewPlace, Stories
from tests.faults.readers import Reader
from tests.faults.results import COUNTED, KILLED, Deaths, Point, some, tell
from tests.faults.scenes import HOURS, Outcome, Place, well
from tests.faults.victims import Victims

SHARDS = 16
READ_BESIDE = 5  # at every so manieth point a reader works beside the runs, at all of them one looks after the death
MOMENTS = range(4)
LATE = 3 / 4  # of the effects of a run: after the last of these it goes on for longer than DELAY_SECONDS
DELAY_SECONDS = 0.1

Record = Callable[[str, object], None]


def _disturb(
    act: Act, place: Place, forks: Victims, minute: int, *, beside: bool, **fault: float
) -> tuple[Point, list[str]]:
    """A fault, the reader's look at what it left, and the run after it."""
    reader = Reader(place.warehouse, act.before, act.after)

    def both() -> int:
        ended = act.scene.play(place, forks, minute, **fault)
        if ended.code < 0:
            if place.warehouse.exists():
                reader.look(still=True)
            well(act.scene.play(place, forks, minute + 1))
        else:
            well(ended)
        return ended.code

    if beside:
        with reader.beside():
            code = both()
    else:
        code = both()
    found = [*reader.faults, *Outcome.of(place).differences(act.outcome)]
    return Point(KILLED, act.scene.name, "", not found, happened=code < 0, beside=beside), found


@pytest.mark.parametrize("shard", some(range(SHARDS)))
@pytest.mark.parametrize("story", ["corrected", "grown"])
def test_killed_before_any_effect_a_run_is_completed_by_the_next(
    story: str, shard: int, undisturbed: Stories, place: NewPlace, forks: Victims, record_property: Record
) -> None:
    acts, faults = undisturbed[story], []
    if shard == 0:
        for act in acts:
            record_property(COUNTED, list(Deaths(act.scene.name, len(act.effects), len(act.points))))
    for turn in range(shard, max(len(act.points) for act in acts), SHARDS):
        own = place(f"{story}-{turn}")
        for number, act in enumerate(_reached(acts, turn)):
            if turn >= len(act.points):
                well(act.scene.play(own, forks, 10 * number))
                continue
            beside, effect = turn % READ_BESIDE == 0, act.points[turn]
            point, found = _disturb(act, own, forks, 10 * number, beside=beside, last=effect)
            name = act.effects[effect - 1]
            tell(record_property, point._replace(fault=f"before {name}"))
            faults += [f"{act.scene.name}, before effect {effect} ({name}): {one}" for one in found]
            if found:
                break
    assert not faults, "\n".join(faults)


def _reached(acts: Sequence[Act], turn: int) -> Sequence[Act]:
    """The acts up to the last that has so many points."""
    return acts[: 1 + max(number for number, act in enumerate(acts) if len(act.points) > turn)]


@pytest.mark.parametrize("seed", some(MOMENTS))
def test_killed_at_any_moment_and_again_while_it_recovers_a_run_is_completed(
    seed: int, undisturbed: Stories, place: NewPlace, forks: Victims, record_property: Record
) -> None:
    chance, faults = random.Random(seed), []  # noqa: S311 # no secret
    own = place(f"random-{seed}")
    for number, act in enumerate(undisturbed["corrected"]):
        moments = [
            {"last": chance.randint(1, int(most)), "delay_seconds": chance.uniform(0.001, DELAY_SECONDS)}
            for most in (LATE * len(act.effects), len(act.effects))  # the run that goes on may have less to do
        ]
        assert act.scene.play(own, forks, 10 * number, **moments[0]).code < 0
        point, found = _disturb(act, own, forks, 10 * number + 1, beside=True, **moments[1])
        told = point._replace(family="Killed at a random moment, and again while it recovers", happened=True)
        tell(record_property, told._replace(fault="between effects"))
        faults += [f"{act.scene.name}: {one}" for one in found]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(("killed", "next_command"), [(1, "run"), (2, "run"), (2, "reprice")])
def test_hours_torn_between_their_tables_are_mended_by_whatever_comes_next(
    killed: int, next_command: str, undisturbed: Stories, place: NewPlace, forks: Victims
) -> None:
    acts, own = undisturbed["corrected"], place(f"torn-{killed}-{next_command}")
    for number, act in enumerate(acts[:killed]):
        well(act.scene.play(own, forks, 10 * number))
    act = acts[killed]
    between = 2 + act.effects.index("rename node_energy")
    assert act.scene.play(own, forks, 30, last=between).code < 0
    well(
        replace(act.scene, command=next_command, window=HOURS if next_command == "reprice" else None).play(
            own, forks, 31
        )
    )
    assert Outcome.of(own).rows["node_energy"].num_rows == act.outcome.rows["node_energy"].num_rows
