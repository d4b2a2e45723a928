"""The simulated fleet: its counters add up, come and go and begin anew as Kepler's would, and are always the same."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.extraction_store import requests
from benchmarks.kepler_fleet import REGISTER_MICROJOULES, SYSTEM_SHARE, ZONES, Int64s, Size, fleet, slices, true_joules
from pipeline.units import MS_PER_HOUR
from tests.benchmarks.conftest import SIZE

MANY = replace(SIZE, series=2_000)


def rises(counter: Int64s, span: int | None = None) -> Int64s:
    """Differences, those of a wrapping register within its span."""
    steps: Int64s = np.diff(counter)
    return steps if span is None else steps % span


def test_the_same_seed_makes_the_same_requests_and_another_seed_others() -> None:
    def bodies(size: Size) -> list[bytes]:
        return [body for body, _ in requests(fleet(size), size)]

    assert bodies(SIZE) == bodies(SIZE)
    assert bodies(SIZE) != bodies(replace(SIZE, seed=3))


def test_a_register_rises_by_active_and_idle_and_active_by_pods_and_system() -> None:
    node = next(node for node in fleet(MANY) if node.restart_ms > MANY.end_ms)
    for part in slices(node, MANY):
        for zone, counted in part.zones.items():
            active = rises(counted.active)
            assert (rises(counted.register, REGISTER_MICROJOULES[zone]) == active + rises(counted.idle)).all()
            pods = rises(counted.pods).sum(axis=0)
            assert active == pytest.approx(pods * (1 + SYSTEM_SHARE), abs=1)


def test_a_restart_costs_two_scrapes_and_begins_all_counters_anew_but_not_the_register() -> None:
    node = next(node for node in fleet(MANY) if node.restart_ms < MANY.end_ms)
    parts = [*slices(node, MANY)]
    stamps = np.concatenate([part.stamps_ms for part in parts])
    gaps = np.diff(stamps)
    assert (gaps > 2.5 * MANY.scrape_ms).sum() == 1
    at = int(gaps.argmax())
    for zone in ZONES:
        active, register = (
            np.concatenate([getattr(part.zones[zone], name) for part in parts]) for name in ("active", "register")
        )
        assert active[at + 1] < active[at] * 0.1
        seen = rises(register, REGISTER_MICROJOULES[zone])[at]
        assert 2 * active[at + 1] < seen < 6 * active[at + 1], (
            "the new Kepler saw a third of the gap, idle is beside it"
        )
    whole = next(part for part in parts if stamps[at + 1] in part.stamps_ms)
    row = int(whole.stamps_ms.searchsorted(stamps[at + 1]))
    assert (np.diff(whole.zones["package"].pods, axis=1)[whole.alive.all(axis=1), row - 1] < 0).mean() > 0.5


def test_true_joules_are_what_all_counters_rose_by_split_at_the_hours() -> None:
    nodes = [node for node in fleet(MANY) if node.restart_ms > MANY.end_ms][:2]
    truth = true_joules(nodes, MANY)
    by_node: dict[tuple[str, str], float] = defaultdict(float)
    for (hour_ms, name, zone, _), joules in truth.items():
        assert hour_ms % MS_PER_HOUR == 0
        by_node[name, zone] += joules
    for node in nodes:
        for zone in ZONES:
            last = [part.zones[zone].pods[:, -1].copy() for part in slices(node, MANY)]
            held: dict[int, int] = {}
            for part, values in zip(slices(node, MANY), last, strict=True):
                held |= dict(zip(part.here.tolist(), values.tolist(), strict=True))
            assert by_node[node.name, zone] == pytest.approx(sum(held.values()) / 1e6, rel=1e-12)
