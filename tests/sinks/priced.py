"""Emissions, contracts and marginal rates of a small warehouse, and what its views answer."""

import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.sinks.sql import run_query
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import APPEND_ONLY_TABLES
from tests.sinks import rows
from tests.sinks.rows import CLUSTER, DAY, HOURS

FETCHED = datetime(2026, 11, 2, tzinfo=UTC)
FIVE = timedelta(minutes=5)
Row = dict[str, Any]


def store(root: Path, table: str, *lines: Row, fetched: datetime = FETCHED) -> None:
    schema = APPEND_ONLY_TABLES[table]
    told = [dict.fromkeys(schema.names) | {"fetched_utc": fetched} | line for line in lines]
    Warehouse(root).append(table, pa.Table.from_pylist(told, schema), "run-1", DAY)


def line(g_per_kwh: float, share: float | None, minutes: tuple[int, int] = (0, 24 * 60), **columns: object) -> Row:
    """A contract, or with share None the residual mix, from and to a minute of the day."""
    start, end = (HOURS[0] + timedelta(minutes=m) for m in minutes)
    return {
        "cluster": CLUSTER, "start_utc": start, "end_utc": end, "g_per_kwh": g_per_kwh, "share_ratio": share,
        "instrument": "residual mix" if share is None else "PPA", "factor_type": "direct",
    } | columns  # fmt: skip


def rate(g_per_kwh: float | None, minutes: tuple[int, int], **columns: object) -> Row:
    """A marginal vintage of WattTime, from and to a minute of the day."""
    start, end = (HOURS[0] + timedelta(minutes=m) for m in minutes)
    return {
        "zone": "DE_NORTH", "start_utc": start, "end_utc": end, "carbon_intensity_g_per_kwh": g_per_kwh,
        "provider": "watttime", "signal": "marginal", "factor_type": "direct", "basis": "unknown",
        "quality": "measured", "updated_utc": None, "fetched_utc": FETCHED,
    } | columns  # fmt: skip


ZONE = {"cluster": CLUSTER, "signal": "marginal", "provider": "watttime", "zone": "DE_NORTH", "factor_type": "direct"}


def used(root: Path, *emissions: Row) -> None:
    """Commit these rows; node_energy is not looked at here."""
    hours = sorted({row["hour_utc"] for row in emissions})
    nodes = {}
    for row in emissions:
        sums = nodes.setdefault(
            (row["hour_utc"], row["node"], row["component"]), dict.fromkeys(("workload", "idle"), 0.0)
        )
        sums[row["kind"]] += row["energy_joules"]
    metered = [
        rows.metered(hour, sums["workload"], 0.0, sums["idle"], node=node, component=component)
        for (hour, node, component), sums in nodes.items()
    ]
    rows.commit(Warehouse(root), rows.complete(hours), rows.tables(list(emissions), metered))


def view(root: Path, name: str) -> list[Row]:
    answer: list[Row] = run_query(root, f"from {name} order by all").to_pylist()
    return answer


def random_day(dice: random.Random) -> tuple[list[Row], list[Row], list[Row]]:
    """Emissions of six hours in steps of several lengths, market lines and marginal vintages with any edges."""

    def span(longest: int) -> tuple[int, int]:
        start = dice.randrange(-20, 80) * 5
        return start, start + 5 * dice.randint(1, longest)

    emissions = []
    for hour in HOURS[:6]:
        for pod in range(3):
            count = dice.choice((1, 2, 4, 12))
            steps = [dice.choice((0.0, dice.uniform(1, 1e6))) for _ in range(count)]
            emissions.append(rows.pod(hour, f"p{pod}", math.fsum(steps), step_joules=None if count == 1 else steps))
    lines, at = [], -120
    while at < 400:  # contracts that follow each other, sometimes with a hole
        until = at + 5 * dice.randint(1, 40)
        lines.append(line(dice.uniform(0, 300), dice.choice((0.3, 1.0)), (at, until)))
        lines.append(line(dice.uniform(0, 300), 0.6, (at, until), zone="DE"))
        at = until + 5 * dice.choice((0, 0, 3))
    lines.append(line(dice.uniform(300, 900), None, (0, 5 * dice.randint(1, 60))))
    lines.append(line(dice.uniform(300, 900), None, (60, 5 * dice.randint(13, 60)), zone="DE"))
    rates = [
        rate(dice.choice((None, *[dice.uniform(0, 900)] * 5)), span(20), fetched_utc=FETCHED + n * FIVE)
        for n in range(40)
    ]
    emissions.append(rows.pod(HOURS[7], "late", 1e6))  # where the last of both lines has ended
    return emissions, lines, rates
