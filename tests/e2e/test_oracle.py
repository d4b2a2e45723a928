"""Grams by namespace of a full day, by a plain loop over the samples that knows nothing of the product's transforms."""

from collections import defaultdict
from fractions import Fraction

import pytest

from pipeline.demo.transport import FleetTransport
from pipeline.sinks.sql import run_query
from pipeline.units import JOULES_PER_KWH
from pipeline.window import from_ms
from tests.e2e.conftest import PUE, WINDOW, PublishedDay, intensity_g_per_kwh
from tests.transforms.oracle import loop

MAX_GAP_MS, STEP_MS = 600_000, 3_600_000


def _started_ms(transport: FleetTransport) -> dict[str, int]:
    blocks = transport.blocks("kube_pod_start_time", WINDOW.start_ms - MAX_GAP_MS, WINDOW.end_ms + MAX_GAP_MS)
    return {
        row["uid"]: round(block.values[block.offsets[i]] * 1000)
        for block in blocks
        for i, row in enumerate(block.labels.to_pylist())
    }


def _grams(joules: Fraction, hour_ms: int) -> Fraction:
    intensity = Fraction(intensity_g_per_kwh(from_ms(hour_ms)))
    return joules / JOULES_PER_KWH * Fraction(PUE) * intensity


def test_duckdb_shows_the_grams_of_the_oracle(published_day: PublishedDay) -> None:
    transport = FleetTransport(published_day.fleet)
    truth = loop(transport, WINDOW, MAX_GAP_MS, STEP_MS, _started_ms(transport))
    namespace_of = {row["pod_uid"]: row["namespace"] for row in published_day.fleet.truth_pods.to_pylist()}
    grams: dict[str, Fraction] = defaultdict(Fraction)
    for (hour_ms, _, _, uid), steps in truth.pods.items():
        grams[namespace_of[uid]] += _grams(sum(steps, Fraction(0)), hour_ms)
    for (hour_ms, _, _), node in truth.nodes.items():
        grams["(system)"] += _grams(sum(node.system, Fraction(0)), hour_ms)
        grams["(idle)"] += _grams(sum(node.idle, Fraction(0)), hour_ms)
    query = """select coalesce(namespace, '(' || kind || ')') as namespace, sum(emissions_gco2e) as grams
               from emissions group by all"""
    shown = {row["namespace"]: row["grams"] for row in run_query(published_day.warehouse, query).to_pylist()}
    assert shown == pytest.approx({name: float(value) for name, value in grams.items()}, rel=1e-6)
