"""The map of teams in dashboards: what Prometheus makes of it, and that the rest stays as committed."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import promql_parser
import pyarrow as pa
import pytest

from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.series import METRIC, Series, block_of
from pipeline.demo.servers import PrometheusBinary, free_port, start_prometheus
from pipeline.errors import ConfigError
from pipeline.handover.dashboards import DataSource, shipped
from pipeline.handover.teams import CLOSE, OPEN, Document, teams_of, teams_on, with_teams
from pipeline.samples import Block
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import TEAMS
from pipeline.window import Clock
from tests.loopback import LOOPBACK

FETCHED = datetime(2026, 10, 1, tzinfo=UTC)
HOUR = int(datetime(2025, 3, 10, 1, tzinfo=UTC).timestamp())
GRAMS = {"shop": 8.0, "cart": 4.0, "cart-2": 2.0, "index": 1.0, "stray": 0.5, "(idle)": 0.25, "(system)": 0.125}
TEAMS_MAP = {'pay $1 "x"': "cart|shop", "search": "index", "watch": r"\(system\)"}


class Samples:
    """One sample a namespace."""

    def blocks(self) -> list[Block]:
        labels = ({METRIC: "grams", "cluster": "a", "namespace": name} for name in GRAMS)
        stamps = np.array([HOUR * 1000])
        return [
            block_of(
                [Series(own, stamps, np.array([value])) for own, value in zip(labels, GRAMS.values(), strict=True)]
            )
        ]


@pytest.fixture(scope="module")
def store(prometheus_binary: PrometheusBinary, clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("teams") / "prometheus"
    fill_blocks(Samples(), prometheus_binary.promtool, folder)
    with start_prometheus(prometheus_binary, folder, free_port(), clock) as server:
        yield server.url


def by_team(address: str, expr: str) -> dict[str, float]:
    answer = LOOPBACK.post(f"{address}/api/v1/query", data={"query": expr, "time": str(HOUR + 60)}).json()
    assert answer["status"] == "success", answer
    return {series["metric"]["team"]: float(series["value"][1]) for series in answer["data"]["result"]}


@pytest.mark.real
def test_prometheus_sums_by_the_map_and_loses_nothing(store: str) -> None:
    amount = "sum by (namespace) (sum_over_time(grams[1h]))"
    committed: Document = {"expr": OPEN + amount + CLOSE + ")", "templating": {"list": []}}
    assert by_team(store, committed["expr"]) == GRAMS
    mapped = by_team(store, with_teams(committed, TEAMS_MAP)["expr"])
    assert mapped == {'pay $1 "x"': 12.0, "search": 1.0, "watch": 0.125, "(no team)": 2.5, "(idle)": 0.25}
    assert sum(mapped.values()) == sum(GRAMS.values())


def test_every_expression_of_the_dashboards_still_parses_and_only_those_by_team_change() -> None:
    before, after = (shipped(DataSource(), teams) for teams in ({}, TEAMS_MAP))
    changed = 0
    for name, board in after.items():
        for panel, earlier in zip(board["panels"], before[name]["panels"], strict=True):
            for target, other in zip(panel.get("targets", []), earlier.get("targets", []), strict=True):
                promql_parser.parse(re.sub(r"\$__\w+", "1h", target["expr"]).replace("$budget_kg", "5"))
                assert (target["expr"] != other["expr"]) == (OPEN in other["expr"])
                changed += target["expr"] != other["expr"]
    assert changed > 0


def test_the_variable_offers_each_team_by_the_regex_of_its_namespaces() -> None:
    board = shipped(DataSource(), {"a, b": "x|y", "c": "z"})["namespaces"]
    [variable] = [one for one in board["templating"]["list"] if one["name"] == "team"]
    everybody = {"selected": True, "text": "All teams", "value": ".+"}
    assert variable["current"] == everybody
    assert variable["options"] == [
        everybody, {"selected": False, "text": "a, b", "value": "x|y"}, {"selected": False, "text": "c", "value": "z"},
    ]  # fmt: skip
    assert variable["query"] == r"All teams : .+, a\, b : x|y, c : z"


def test_without_a_map_dashboards_are_as_committed() -> None:
    document = {"expr": OPEN + "x" + CLOSE + ")", "templating": {"list": []}}
    assert with_teams(document, {}) is document


def test_namespaces_are_one_regex_a_team_with_their_characters_taken_literally() -> None:
    lines = [("a", "shop", "pay"), ("b", "shop", "pay"), ("a", "cart.x", "pay"), ("a", "(idle)", "ops")]
    assert teams_of(lines) == {"ops": r"\(idle\)", "pay": r"cart\.x|shop"}


def test_a_namespace_of_two_teams_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"the team of shop differs by cluster.*--no-teams"):
        teams_of([("a", "shop", "pay"), ("b", "shop", "search")])


def test_the_map_is_that_of_the_day(tmp_path: Path) -> None:
    assert teams_on(tmp_path, date(2026, 10, 5)) == {}
    moved = datetime(2026, 10, 3, tzinfo=UTC)
    rows = [
        {"namespace": "shop", "team": "old", "start_utc": None, "end_utc": moved},
        {"namespace": "shop", "team": "new", "start_utc": moved, "end_utc": None},
        {"namespace": "cart", "team": "old", "start_utc": None, "end_utc": None},
    ]
    table = pa.Table.from_pylist([row | {"cluster": "a", "fetched_utc": FETCHED} for row in rows], TEAMS)
    Warehouse(tmp_path).append("teams", table, "run", FETCHED.date())
    assert teams_on(tmp_path, date(2026, 10, 2)) == {"old": "cart|shop"}
    assert teams_on(tmp_path, date(2026, 10, 3)) == {"new": "shop", "old": "cart"}
