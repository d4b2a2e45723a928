"""One number: what a month came to is the same in SQL, every dashboard that shows it, the report and the export."""

import csv
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.books.periods import period_of
from pipeline.cli import app
from pipeline.handover.teams import teams_of, with_teams
from pipeline.period_report.formats import FORMATS
from pipeline.period_report.gathering import gather
from tests.dashboards import fleet
from tests.dashboards.answers import EXPRESSIONS, PRESETS, ask, column
from tests.dashboards.expressions import DASHBOARDS, DAY, HOUR
from tests.dashboards.store import LAST_RUN, Site

pytestmark = pytest.mark.real
MONTH = PRESETS["this month"]
TOTAL = "select sum(emissions_gco2e) from emissions where hour_utc >= $start and hour_utc < $end"
# Every panel whose figures, added up, are the grams of all that is chosen; bars by the length of their step.
COLUMNS = (
    "overview/Emissions/A", "overview/Clusters/A", "overview/By kind and component/A", "overview/Top nodes/A",
    "namespaces/Emissions/A", "namespaces/Chargeback by namespace/A", "namespaces/Teams/A",
    "workload/Emissions/A", "workload/Workloads/A", "workload/By kind and component/A", "nodes/Nodes/G",
)  # fmt: skip
BARS = {
    "overview/Emissions per hour/AB": HOUR, "overview/Emissions per day/AB": DAY,
    "namespaces/Emissions per day by team/A": DAY, "workload/Emissions per hour/AB": HOUR,
    "nodes/Emissions per hour by node/AB": HOUR,
}  # fmt: skip
CONFIG = """\
[warehouse]
path = "{root}"
[[clusters]]
name = "alpha"
prometheus_url = "http://127.0.0.1:9"
grid_zone = "DE"
pue = 1.25
[[clusters]]
name = "beta"
prometheus_url = "http://127.0.0.1:9"
grid_zone = "SE"
pue = 1.5
"""
Command = Callable[..., str]


@pytest.fixture(scope="module")
def command(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Command:
    config = tmp_path_factory.mktemp("config") / "carbon-etl.toml"
    config.write_text(CONFIG.format(root=site.root), encoding="utf-8")

    def said(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--config", str(config)])
        assert done.exit_code == 0, done.output
        return done.stdout

    return said


@pytest.fixture(scope="module")
def grams(site: Site) -> object:
    [[total]] = site.rows(TOTAL, MONTH)
    assert total == pytest.approx(fleet.total("carbon_emissions_grams", MONTH.start_ms, MONTH.end_ms), rel=1e-12)
    return pytest.approx(total, rel=1e-9)


def test_every_panel_that_shows_the_grams_of_a_month_adds_up_to_them(site: Site, grams: object) -> None:
    store = site.stores["prometheus"]
    for name in COLUMNS:
        assert math.fsum(column(store, name, MONTH).values()) == grams, name
    for name, step in BARS.items():
        panel, _, ref_ids = name.rpartition("/")
        bars = [series for ref_id in ref_ids for series in ask(store, EXPRESSIONS[f"{panel}/{ref_id}"], MONTH, step)]
        assert math.fsum(value for _, points in bars for _, value in points) == grams, name


def test_all_dashboards_with_grams_are_among_them() -> None:
    """A panel in grams that is none of these says so by what it is: a part, a change, a budget."""
    others = re.compile(r"previous range|Restated|Correct|Budget|Top workloads|budget|Corrections")
    shown = {
        f"{path.stem}/{panel['title']}"
        for path in DASHBOARDS
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        if '"massg"' in json.dumps(panel)
    }
    known = {name.rpartition("/")[0] for name in (*COLUMNS, *BARS)}
    assert {name for name in shown - known if not others.search(name)} == set()
    assert known <= shown


def test_sql_and_its_macro_say_the_same(command: Command, grams: object) -> None:
    query = """
        select sum(emissions_gco2e) as total from emissions where date between '2025-03-01' and '2025-03-31'
        union all
        select sum(emissions_gco2e) from emissions_daily where date between '2025-03-01' and '2025-03-31'
        union all
        select sum(emissions_gco2e) from gco2e_by(['team'], '2025-03-01', '2025-04-01')"""
    assert [row["total"] for row in json.loads(command("sql", "--format", "json", query))] == [grams] * 3


def test_the_export_says_the_same(command: Command, grams: object, tmp_path: Path) -> None:
    path = tmp_path / "march.csv"
    command("export", str(path), "--start", "2025-03-01T00:00Z", "--end", "2025-04-01T00:00Z")
    with path.open(encoding="utf-8", newline="") as file:
        cells = [row["emissions_gco2e"] for row in csv.DictReader(file)]
    assert math.fsum(float(cell) for cell in cells if cell) == grams


def test_the_report_says_the_same_in_every_format(site: Site, grams: object) -> None:
    figures = gather(site.root, period_of("2025-03", None, None), None, list(fleet.PUE), LAST_RUN)
    told = {kind: write(figures) for kind, write in FORMATS.items()}
    [part] = json.loads(told["json"])["parts"]
    assert part["now"]["emissions_gco2e"] == grams
    totals = [row for row in csv.DictReader(told["csv"].splitlines()) if row["table"] == "total"]
    assert [float(row["emissions_gco2e"]) for row in totals] == [grams]
    [[total]] = site.rows(TOTAL, MONTH)
    rounded = f"{total / 1000:.3f}"
    assert f"Emissions: **{rounded} kg CO₂e**" in told["md"]
    assert f"<dt>Emissions</dt><dd><strong>{rounded}</strong> kg CO₂e" in told["html"]


def test_teams_of_an_exported_dashboard_are_those_of_the_warehouse(site: Site) -> None:
    [path] = [path for path in DASHBOARDS if path.stem == "namespaces"]
    belongs = "coalesce(start_utc <= $start, true) and coalesce(end_utc >= $end, true)"
    lines = site.rows(f"select cluster, namespace, team from teams_newest where {belongs}", MONTH)
    exported = with_teams(json.loads(path.read_text(encoding="utf-8")), teams_of([(a, b, c) for a, b, c in lines]))
    [teams] = [panel for panel in exported["panels"] if panel["title"] == "Teams"]
    expression = replace(EXPRESSIONS["namespaces/Teams/A"], expr=teams["targets"][0]["expr"])
    shown = {labels["team"]: points[0][1] for labels, points in ask(site.stores["prometheus"], expression, MONTH)}
    query = """
        select case when namespace in ('(idle)', '(system)') then namespace else team end, sum(emissions_gco2e)
        from emissions_by_team where date_utc >= $start and date_utc < $end group by all"""
    assert shown == {team: pytest.approx(total, rel=1e-9) for team, total in site.rows(query, MONTH)}
    assert set(fleet.TEAMS) | {"(no team)", "(idle)", "(system)"} == set(shown)
