"""Teams and idle energy are views over what is stored: they move no gram, and their sums are those of `emissions`."""

import math
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from pipeline.sinks.views import DATABASE, open_views, refresh_database
from pipeline.sinks.warehouse import Warehouse
from tests.queries import months
from tests.sinks import rows

AMOUNTS = ("energy_joules", "facility_energy_kwh", "emissions_gco2e")
Row = dict[str, Any]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("teams")
    months.fill(root)
    refresh_database(root)
    return root


def ask(root: Path, text: str) -> list[Row]:
    with open_views(root, text) as connection:
        found: list[Row] = connection.sql(text).to_arrow_table().to_pylist()
    return found


def files(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*.parquet") if "teams" not in path.parts}


def by_team(root: Path) -> dict[str, float | None]:
    return {row["team"]: row["g"] for row in ask(
        root, "select team, sum(emissions_gco2e) as g from emissions_by_team where date >= '2026-11-01' group by team"
    )}  # fmt: skip


def test_moving_a_namespace_restates_no_gram(tmp_path: Path) -> None:
    warehouse = months.fill(tmp_path)
    before, total = files(tmp_path), ask(tmp_path, "select sum(emissions_gco2e) as g from emissions_daily")
    assert by_team(tmp_path)["green"] == pytest.approx(375 + 450)
    later: list[months.Line] = [("shop", "blue", None, None), ("ml", "green", None, None)]
    months.declare(warehouse, later, months.STAMP.priced_utc + timedelta(days=1))
    assert by_team(tmp_path) == pytest.approx({"blue": 375, "green": 450, "(no team)": 900})
    assert ask(tmp_path, "select sum(emissions_gco2e) as g from emissions_by_team") == total
    assert files(tmp_path) == before
    assert ask(tmp_path, "from revisions") == []


def test_a_withdrawn_map_leaves_every_namespace_without_a_team(tmp_path: Path) -> None:
    warehouse = months.fill(tmp_path)
    months.declare(warehouse, [(None, None, None, None)], months.STAMP.priced_utc + timedelta(days=1))
    assert ask(tmp_path, "from teams_newest") == []
    assert set(by_team(tmp_path)) == {"(no team)"}


def test_sums_by_team_are_those_of_the_roll_up_and_no_row_is_lost(root: Path) -> None:
    text = "select count(*) as n, sum(energy_joules) as e, sum(emissions_gco2e) as g from {}"
    assert ask(root, text.format("emissions_by_team")) == ask(root, text.format("emissions_daily"))
    assert ask(root, "from emissions_by_team where team is null or namespace is null") == []


def test_gco2e_by_answers_in_a_plain_session_of_any_time_zone(root: Path) -> None:
    with duckdb.connect(str(root / DATABASE), read_only=True) as connection:
        for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
            connection.execute(f"set TimeZone = '{zone}'")
            asked = "select team, namespace, emissions_gco2e from gco2e_by(['team', 'namespace'], '{}', '{}')"
            found = connection.sql(asked.format("2026-11-01", "2026-12-01")).fetchall()
            grams = {row[:2]: row[2] for row in found if row[2] is not None}
            assert grams == {
                ("green", "shop"): 375, ("green", "ml"): 450, ("platform", "(idle)"): 600,
                ("(no team)", "(system)"): 75, ("(no team)", "(unknown)"): 225,
            }, zone  # fmt: skip
        october = "from gco2e_by(['cluster'], date '2026-10-01', '2026-11-01')"
        (total,) = connection.sql(october).fetchall()
        assert total == ("prod-eu", pytest.approx(3), pytest.approx(4.5), pytest.approx(900), 0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("from gco2e_by(['team'], '2026-11-01 12:00:00', '2026-12-01')", "Could not parse string"),
        ("from gco2e_by(['team'], timestamptz '2026-11-01 00:00:00+09', '2026-12-01')", "Could not parse string"),
        ("from gco2e_by(['teem'], '2026-11-01', '2026-12-01')", "teem"),
    ],
)
def test_gco2e_by_refuses_what_it_cannot_sum(root: Path, text: str, complaint: str) -> None:
    with open_views(root, text) as connection, pytest.raises(duckdb.Error, match=complaint):
        connection.sql(text).fetchall()


def shared(emissions: list[Row], policy: str) -> list[tuple[Any, ...]]:
    """What idle rows become, worked out row by row."""
    found: list[tuple[Any, ...]] = []
    for idle in (row for row in emissions if row["kind"] == "idle"):
        place = [idle[name] for name in ("hour_utc", "cluster", "node", "component")]
        there = [
            row for row in emissions
            if row["kind"] == "workload" and row["energy_joules"] > 0
            and [row[name] for name in ("hour_utc", "cluster", "node", "component")] == place
        ]  # fmt: skip
        owners = defaultdict(list)
        for row in there:
            owners[row["namespace"], row["workload_kind"], row["workload"] or row["pod"]].append(row)
        if not there:
            found.append((*place, None, None, idle["energy_joules"], idle["emissions_gco2e"]))
        for mine in owners.values():
            for row in mine:
                part = row["energy_joules"] / math.fsum(one["energy_joules"] for one in there)
                ratio = part if policy == "by_energy" else 1 / len(owners) / len(mine)
                grams = idle["emissions_gco2e"]
                found.append((
                    *place, row["namespace"] or "(unknown)", row["pod_uid"], idle["energy_joules"] * ratio,
                    None if grams is None else grams * ratio,
                ))  # fmt: skip
    return sorted(found, key=repr)


def fleet(hour: datetime, seed: int) -> list[Row]:
    """Nodes with workloads of several pods, of none, of zero energy; some hours' grams are unknown."""
    random = np.random.default_rng(seed)
    found: list[Row] = []
    for node in ("n1", "n2", "n3"):
        for component in ("package", "gpu"):
            said: Row = {"node": node, "component": component}
            if random.random() < 0.3:
                said |= months.UNPRICED
            found.append(rows.emission(hour, "idle", float(random.integers(0, 10**7)), **said))
            found.append(rows.emission(hour, "system", float(random.integers(0, 10**6)), **said))
            for number in range(random.integers(0, 5)):
                owner = {"pod": f"p{number}", "pod_uid": f"{node}-{number}", "namespace": f"ns{number % 2}"}
                joules = float(random.choice([0.0, 1.0, 3.5e6, random.uniform(1, 1e7)]))
                found.append(rows.pod(hour, f"w{number % 3}", joules, **said, **owner))
    return found


@pytest.fixture(scope="module")
def random_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("random")
    emissions = [row for seed, hour in enumerate(rows.HOURS[:6]) for row in fleet(hour, seed)]
    nodes = [dict(row, coverage_ratio=1.0) for row in months.metered(emissions)]
    rows.commit(Warehouse(root), rows.complete(rows.HOURS[:6]), rows.tables(emissions, nodes))
    return root


@pytest.mark.parametrize("policy", ["by_energy", "even"])
def test_idle_energy_is_shared_as_a_loop_would(random_root: Path, policy: str) -> None:
    columns = "hour_utc, cluster, node, component, namespace, pod_uid, energy_joules, emissions_gco2e"
    told = ask(random_root, f"select {columns} from emissions_idle_{policy} where kind = 'idle'")
    found = sorted((tuple(row.values()) for row in told), key=repr)
    expected = shared(ask(random_root, "from emissions"), policy)
    assert [row[:6] for row in found] == [row[:6] for row in expected]
    for amount in (6, 7):
        pairs = [(a[amount], b[amount]) for a, b in zip(found, expected, strict=True)]
        assert [a is None for a, _ in pairs] == [b is None for _, b in pairs]
        assert [a for a, _ in pairs if a is not None] == pytest.approx(
            [b for _, b in pairs if b is not None], rel=1e-12
        )
    assert any(row[4] is None for row in found)
    assert any(row[4] is not None for row in found)


@pytest.mark.parametrize("policy", ["separate", "by_energy", "even"])
def test_sharing_conserves_every_amount_at_every_place(root: Path, random_root: Path, policy: str) -> None:
    """P1: per hour, node and component, and of what has no grams, too."""
    sums = ", ".join(f"sum({amount}) as {amount}" for amount in AMOUNTS)
    text = f"""select hour_utc, cluster, node, component, {sums},
        sum(energy_joules) filter (emissions_gco2e is null) as unpriced from {{}} group by all order by all"""
    for one in (root, random_root):
        stored, told = ask(one, text.format("emissions")), ask(one, text.format(f"emissions_idle_{policy}"))
        for name in (*AMOUNTS, "unpriced"):
            assert [row[name] is None for row in told] == [row[name] is None for row in stored]
            assert [row[name] for row in told if row[name] is not None] == pytest.approx(
                [row[name] for row in stored if row[name] is not None], rel=1e-9
            )


def test_the_key_of_shared_rows_is_unique(random_root: Path) -> None:
    key = "hour_utc, cluster, node, component, kind, workload_kind, workload, namespace, pod, pod_uid, container"
    for policy in ("by_energy", "even"):
        text = f"select {key}, count(*) as n from emissions_idle_{policy} group by all having n > 1"
        assert ask(random_root, text) == []


def test_a_day_of_a_filter_opens_one_file(root: Path) -> None:
    """Dates reach the files through all joins of the views."""
    text = "explain analyze from emissions_idle_even where date = '2026-10-31'"
    with open_views(root, text) as connection:
        (plan,) = [row[1] for row in connection.sql(text).fetchall()]
    assert "Total Files Read: 1" in " ".join(plan.split())
    assert "Total Files Read: 3" not in " ".join(plan.split())
