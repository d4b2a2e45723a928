"""Bodies that the real Kepler 0.9.0 exposed, read by the meter that must understand them.

Recorded by `python -m tests.exporters.legacy_payloads` on made registers, 3 s apart: two sockets with memory, the first
of which passes its range; one container of a known pod, one of none, and what is outside containers; then a restart.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.samples import LegacySamples
from pipeline.sources.meters import kepler_legacy
from tests.exporters.exposition import Exposed, Scraped, parse

FOLDER = Path(__file__).parents[2] / "payloads" / "kepler_legacy"
NAMES = ("first", "second", "third", "fourth", "fifth", "restarted")
BODIES = {3_000 * i: (FOLDER / f"0.9.0_{name}.txt").read_text(encoding="utf-8") for i, name in enumerate(NAMES)}
RESTARTED_MS = 3_000 * NAMES.index("restarted")
TARGET = {"instance": "10.0.0.7:9102", "job": "kepler-exporter", "namespace": "kepler", "pod": "kepler-x7kq"}
KNOWN = "4f0c" * 16


@pytest.fixture(scope="module")
def samples() -> LegacySamples:
    return kepler_legacy.read(Scraped(BODIES, TARGET), [], 0, RESTARTED_MS)


def exposed(metric: str, **labels: str) -> list[Exposed]:
    """Samples of the bodies in their order."""
    every = [sample for body in BODIES.values() for sample in parse(body)]
    return [one for one in every if one.metric == metric and labels.items() <= one.labels.items()]


def test_sockets_are_counters_of_the_node_that_kepler_names_and_not_of_its_address(samples: LegacySamples) -> None:
    assert {tuple(row.values()) for row in samples.sockets.identity.to_pylist()} == {
        ("worker-1", component, "dynamic", socket) for component in ("package", "dram") for socket in ("0", "1")
    }  # fmt: skip
    for code, row in enumerate(samples.sockets.identity.to_pylist()):
        own = samples.sockets.value[samples.sockets.code == code]
        told = exposed(kepler_legacy.NODE.format(row["component"]), package=row["socket"])
        assert own.tolist() == [one.value for one in told]
        assert 10 < own.max() < 2_000  # joules from zero, and not the register's 175 kJ


def test_a_wrap_shows_as_no_rise_and_a_restart_as_zero(samples: LegacySamples) -> None:
    values = {
        row["socket"]: samples.sockets.value[samples.sockets.code == code]
        for code, row in enumerate(samples.sockets.identity.to_pylist())
        if row["component"] == "package"
    }
    assert (np.diff(values["0"][:-1]) == 0).sum() == 1
    assert (np.diff(values["1"][:-1]) > 0).all()
    assert values["0"][-1] == values["1"][-1] == 0


def test_a_container_is_in_the_namespace_of_its_pod_and_on_the_node_of_its_target(samples: LegacySamples) -> None:
    rows = samples.containers.identity.to_pylist()
    assert {row["node"] for row in rows} == {"worker-1"}
    own = [code for code, row in enumerate(rows) if row["container_id"] == KNOWN and row["component"] == "package"]
    assert len(own) == 1
    names = samples.containers.names.to_pylist()
    told = {tuple(names[name].values()) for name in samples.containers.name[samples.containers.code == own[0]]}
    assert told == {("shop", "web-1")}
    assert ("system_processes", "package") in {(row["container_id"], row["component"]) for row in rows}


def test_totals_are_not_read_beside_components_and_agree_with_them(samples: LegacySamples) -> None:
    assert len(samples.totals.code) == 0
    total, package, dram = (
        [one.value for one in exposed(metric, container_id=KNOWN, mode="dynamic")]
        for metric in (kepler_legacy.TOTAL, *(kepler_legacy.CONTAINER.format(c) for c in ("package", "dram")))
    )
    assert total == pytest.approx(np.add(package, dram), abs=0.002)


def test_the_version_is_the_one_that_was_recorded(samples: LegacySamples) -> None:
    assert samples.versions.identity.to_pylist() == [{"node": "worker-1", "version": "v0.9.0"}]


def test_nothing_of_the_machine_that_recorded_them_is_left() -> None:
    ids = {
        one.labels["container_id"] for body in BODIES.values() for one in parse(body) if "container_id" in one.labels
    }
    assert ids == {KNOWN, "9b21" * 16, "system_processes"}
    assert not [body for body in BODIES.values() if re.search(r"/root|/home|/tmp|go_info", body)]
