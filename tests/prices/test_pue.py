"""PUE in time: asked where it may have changed, stored where it differs, and hours priced again when it does."""

import math
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.demo.servers import RunningServer
from pipeline.errors import SourceMalformed, SourceUnavailable
from pipeline.job import Job
from pipeline.refresh import Refreshed
from pipeline.refresh.pue import PueRefresh
from pipeline.report import ClusterOutcome, RunReport
from pipeline.reprice import overtaken, priced_hours, reprice
from pipeline.run import run
from pipeline.settings import Settings
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import INTENSITY, PUE
from pipeline.window import to_ms
from tests.conftest import SMALL_FLEET_START
from tests.examples import examples
from tests.prices import stored
from tests.prices.stored import CLUSTER, START, StandingClock, copied, figures, fold, job, learn, vintage
from tests.sinks.servers import real_victoria
from tests.sources.series import push, written

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
HOURS = [START + n * HOUR for n in range(8)]
FOLDED = HOURS[-1] + 2 * HOUR
QUERY = "facility / it"
SOURCE = f"query:{QUERY}"


def table(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    with open_views(warehouse.root, name) as connection:
        rows: list[dict[str, Any]] = connection.sql(f"from {name} order by all").to_arrow_table().to_pylist()
    return rows


def files(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*.parquet") if "runs" not in str(path)}


def write(folder: Path, *lines: tuple[int, int, float | None]) -> Path:
    """A file of ratios from one of HOURS to another."""
    path = folder / "pue.csv"
    rows = [
        f"{START + first * HOUR:%FT%H:%MZ},{START + last * HOUR:%FT%H:%MZ},{'' if ratio is None else ratio}"
        for first, last, ratio in lines
    ]
    path.write_text("\n".join(["start_utc,end_utc,pue_ratio", *rows]), encoding="utf-8")
    return path


def refresh(given: Settings, now: datetime, *, dry_run: bool = False) -> PueRefresh:
    warehouse = Warehouse(Path(given.warehouse.path))
    return PueRefresh(stored.site(given, now).prices, warehouse, f"run-{now:%m%dT%H%M%S}", now, dry_run)


def folded_with_file(folder: Path, *lines: tuple[int, int, float | None]) -> tuple[Settings, Warehouse]:
    """Eight hours at 100 g/kWh, priced with what the file says."""
    root = folder / "warehouse"
    given = stored.settings(root, pue={"csv": str(write(folder, *lines))})
    learn(Warehouse(root), *(vintage(hour, 100.0, HOURS[-1]) for hour in HOURS))
    refresh(given, FOLDED).file()
    return given, fold(given, HOURS, FOLDED)


def by_hour(warehouse: Warehouse, column: str) -> list[set[Any]]:
    rows = warehouse.read_table("emissions").to_pylist()
    return [{row[column] for row in rows if row["hour_utc"] == hour} for hour in HOURS]


def test_each_hour_is_priced_with_its_own_pue_and_says_whence(tmp_path: Path) -> None:
    _, warehouse = folded_with_file(tmp_path, (0, 4, 1.2), (4, 8, 1.5))
    assert by_hour(warehouse, "pue_ratio") == [{1.2}] * 4 + [{1.5}] * 4
    assert by_hour(warehouse, "pue_source") == [{"csv"}] * 8
    for row in warehouse.read_table("emissions").to_pylist():
        by_hand = row["energy_joules"] / 3.6e6 * (1.2 if row["hour_utc"] < HOURS[4] else 1.5) * 100.0
        assert row["emissions_gco2e"] == pytest.approx(by_hand, rel=1e-12)


def test_a_changed_file_restates_the_hours_that_differ_and_says_why(tmp_path: Path) -> None:
    given, warehouse = folded_with_file(tmp_path, (0, 8, 1.2))
    write(tmp_path, (0, 2, 1.2), (2, 4, 1.4), (4, 8, 1.2))
    report = reprice(job(given, FOLDED + HOUR), [CLUSTER], None).clusters[0]
    assert (report.hours_repriced, report.hours_rewritten) == (2, 2)
    assert by_hour(warehouse, "pue_ratio") == [{1.2}] * 2 + [{1.4}] * 2 + [{1.2}] * 4
    found = table(warehouse, "revisions")
    assert {(row["cause"], row["old_pue_ratio"], row["new_pue_ratio"]) for row in found} == {("pue", 1.2, 1.4)}
    assert {row["hour_utc"] for row in found} == set(HOURS[2:4])
    change = math.fsum(row["new_emissions_gco2e"] - row["old_emissions_gco2e"] for row in found)
    assert change == pytest.approx((2 * 6.3e6 + 2 + 3) / 3.6e6 * 0.2 * 100.0, rel=1e-9)
    assert report.restated_gco2e == pytest.approx(change, rel=1e-12)
    before = files(tmp_path)
    again = reprice(job(given, FOLDED + 2 * HOUR), [CLUSTER], None).clusters[0]
    assert (again.hours_repriced, files(tmp_path)) == (0, before)


def test_only_what_differs_is_stored_of_a_file(tmp_path: Path) -> None:
    given, warehouse = folded_with_file(tmp_path, (0, 800, 1.2))
    write(tmp_path, (0, 800, 1.2), (800, 900, 1.3))
    assert refresh(given, FOLDED + HOUR).file().num_rows == 1
    assert refresh(given, FOLDED + 2 * HOUR).file().num_rows == 0
    assert [((row["end_utc"] - row["start_utc"]) // HOUR, row["pue_ratio"]) for row in table(warehouse, "pue")] == [
        (800, 1.2),
        (100, 1.3),
    ]


def test_without_a_pue_grams_are_unknown_and_the_intensity_is_what_it_was(tmp_path: Path) -> None:
    given, warehouse = folded_with_file(tmp_path, (0, 6, 1.2))
    for column in ("pue_ratio", "pue_source", "facility_energy_kwh", "emissions_gco2e"):
        assert by_hour(warehouse, column)[6:] == [{None}] * 2, column
        assert all(None not in found for found in by_hour(warehouse, column)[:6]), column
    assert by_hour(warehouse, "intensity_quality") == [{"estimated"}] * 8
    intensities = [row["carbon_intensity_g_per_kwh"] for row in figures(warehouse)]
    assert intensities == pytest.approx([100.0] * 24)
    write(tmp_path, (0, 8, 1.2))
    assert reprice(job(given, FOLDED + HOUR), [CLUSTER], None).clusters[0].hours_rewritten == 2
    assert by_hour(warehouse, "pue_ratio") == [{1.2}] * 8
    assert all(row["emissions_gco2e"] is not None for row in figures(warehouse))
    assert {row["cause"] for row in table(warehouse, "revisions")} == {"pue"}


def test_a_withdrawn_figure_takes_the_grams_with_it(tmp_path: Path) -> None:
    given, warehouse = folded_with_file(tmp_path, (0, 8, 1.2))
    write(tmp_path, (0, 1, None), (1, 8, 1.2))
    reprice(job(given, FOLDED + HOUR), [CLUSTER], None)
    assert by_hour(warehouse, "emissions_gco2e")[0] == {None}
    assert by_hour(warehouse, "pue_ratio") == [{None}] + [{1.2}] * 7


def test_a_dry_run_tells_the_difference_and_writes_nothing(tmp_path: Path) -> None:
    given, _ = folded_with_file(tmp_path, (0, 8, 1.2))
    write(tmp_path, (0, 8, 1.3))
    before = sorted((tmp_path / "warehouse").rglob("*"))
    report = reprice(job(given, FOLDED + HOUR, dry_run=True), [CLUSTER], None).clusters[0]
    assert sorted((tmp_path / "warehouse").rglob("*")) == before
    assert report.hours_rewritten == 8
    assert report.restated_gco2e == pytest.approx((8 * 6.3e6 + 28) / 3.6e6 * 0.1 * 100.0, rel=1e-9)


def test_overtaken_looks_at_the_pue_too(tmp_path: Path) -> None:
    _, warehouse = folded_with_file(tmp_path, (0, 8, 1.2))
    known = priced_hours(warehouse, CLUSTER)

    def found(first: int, last: int, fetched: datetime) -> list[int]:
        pues = pa.Table.from_pylist([measured(first, last, 1.4, fetched)], PUE)
        return [HOURS.index(hour) for hour in sorted(overtaken(known, INTENSITY.empty_table(), pues, (), FOLDED))]

    assert found(2, 4, FOLDED) == []
    assert found(2, 4, FOLDED + MINUTE) == [2, 3]
    assert found(-9, 1, FOLDED + MINUTE) == [0]


def measured(first: int, last: int, ratio: float | None, fetched: datetime) -> dict[str, Any]:
    return {
        "cluster": CLUSTER, "start_utc": START + first * HOUR, "end_utc": START + last * HOUR, "pue_ratio": ratio,
        "source": SOURCE, "updated_utc": None, "fetched_utc": fetched,
    }  # fmt: skip


DAY_HOURS = [START + n * HOUR for n in range(24)]
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 15),  # hours after the fold at which it is fetched
        st.integers(0, 7),  # the first hour it speaks of
        st.integers(1, 4),  # how many
        st.sampled_from([None, 1.0, 1.2, 1.5]),
        st.sampled_from([None, 0.0, 80.0, 400.0]),  # g/kWh instead of a PUE
        st.booleans(),  # whether it is an intensity
        st.booleans(),  # whether a run follows it
    ),
    min_size=8,
    max_size=16,
)


def unmeasured(folder: Path) -> Warehouse:
    """24 hours at 100 g/kWh that have no PUE yet."""
    learn(Warehouse(folder), *(vintage(hour, 100.0, DAY_HOURS[-1]) for hour in DAY_HOURS))
    return fold(stored.settings(folder, pue={"query": QUERY}), DAY_HOURS, DAY_HOURS[-1] + 2 * HOUR)


@hypothesis_settings(max_examples=examples(3), deadline=None, phases=(Phase.explicit, Phase.generate))
@given(EVENTS)
def test_repricing_does_not_depend_on_when_runs_happened(events: list[tuple[Any, ...]]) -> None:
    """Any history of PUE and intensities with runs in between ends as one run at the end; once more changes nothing.

    And it ends as the newest figure of each hour says, reckoned here.
    """
    folded = DAY_HOURS[-1] + 2 * HOUR
    with TemporaryDirectory() as folder:
        often, once = (copied(unmeasured, Path(folder, name)).root for name in ("often", "once"))
        given = {warehouse: stored.settings(warehouse, pue={"query": QUERY}) for warehouse in (often, once)}
        pues: dict[datetime, float | None] = dict.fromkeys(DAY_HOURS)
        grid: dict[datetime, float | None] = dict.fromkeys(DAY_HOURS, 100.0)
        for number, (after, first, length, ratio, g, is_grid, runs) in enumerate(
            sorted(events, key=lambda e: int(e[0]))
        ):
            fetched, hours = folded + after * HOUR + (number + 1) * MINUTE, DAY_HOURS[first : first + length]
            (grid if is_grid else pues).update(dict.fromkeys(hours, g if is_grid else ratio))
            for warehouse in (often, once):
                if is_grid:
                    learn(Warehouse(warehouse), *(vintage(h, g, fetched) for h in hours), run_id=f"learn-{number}")
                else:
                    row = pa.Table.from_pylist([measured(first, first + length, ratio, fetched)], PUE)
                    Warehouse(warehouse).append("pue", row, f"learn-{number}", fetched.date())
            if runs:
                reprice(job(given[often], fetched + timedelta(seconds=5)), [CLUSTER], None)
        end = folded + timedelta(days=5)
        for warehouse in (often, once):
            reprice(job(given[warehouse], end), [CLUSTER], None)
        assert figures(Warehouse(often)) == figures(Warehouse(once))
        for row in Warehouse(often).read_table("emissions").to_pylist():
            ratio, g = pues[row["hour_utc"]], grid[row["hour_utc"]]
            if ratio is None or g is None:
                assert row["emissions_gco2e"] is None
            else:
                by_hand = row["energy_joules"] / 3.6e6 * ratio * g
                assert row["emissions_gco2e"] == pytest.approx(by_hand, rel=1e-12), row["hour_utc"]
        assert reprice(job(given[often], end + HOUR), [CLUSTER], None).clusters[0].hours_rewritten == 0


# --- asked of a real server


def watts(*values: float | None, start: datetime = START) -> list[tuple[int, float]]:
    """Constant in each hour, sampled at half minutes; None is an hour without samples."""
    return [
        (to_ms(start + n * HOUR + m * MINUTE + MINUTE / 2), value)
        for n, value in enumerate(values)
        if value is not None
        for m in range(60)
    ]


SITE = "sum(avg_over_time(facility[1h])) / sum(avg_over_time(it[1h]))"
IT = {written("it"): watts(*[1000.0] * 72)}


def ratios(warehouse: Warehouse) -> dict[int, float | None]:
    """What the newest vintages say, by hours after START."""
    return {(row["start_utc"] - START) // HOUR: row["pue_ratio"] for row in table(warehouse, "pue")}


def test_young_hours_are_asked_again_and_only_what_differs_is_stored(tmp_path: Path) -> None:
    with real_victoria(tmp_path / "data") as server:
        push(server.url, IT | {written("facility"): watts(1200.0, 1300.0, None, 1500.0)})
        given = stored.settings(tmp_path / "w", prometheus_url=server.url, pue={"query": SITE})
        warehouse, done = Warehouse(tmp_path / "w"), Refreshed()
        assert refresh(given, HOURS[4]).ask(HOURS, done).num_rows == 3
        assert ratios(warehouse) == pytest.approx({0: 1.2, 1: 1.3, 3: 1.5})
        assert refresh(given, HOURS[5]).ask(HOURS, done).num_rows == 0
        push(server.url, {written("facility"): watts(None, None, 1400.0)})  # late, within 48 h
        assert refresh(given, HOURS[6]).ask(HOURS, done).num_rows == 1
        assert ratios(warehouse) == pytest.approx({0: 1.2, 1: 1.3, 2: 1.4, 3: 1.5})
        assert (done.problems, done.warnings) == ([], [])


def test_old_hours_are_asked_where_nothing_is_stored_and_never_again(tmp_path: Path) -> None:
    hours = [START + n * HOUR for n in range(60)]
    with real_victoria(tmp_path / "data") as server:
        push(server.url, IT | {written("facility"): watts(1200.0, None, 1200.0)})
        given = stored.settings(tmp_path / "w", prometheus_url=server.url, pue={"query": SITE})
        warehouse, now = Warehouse(tmp_path / "w"), hours[-1] + HOUR
        assert refresh(given, now).ask(hours, Refreshed()).num_rows == 2
        push(server.url, {written("facility", feed="2"): watts(100.0, 1300.0, 100.0)})
        assert refresh(given, now + HOUR).ask(hours, Refreshed()).num_rows == 1
        assert ratios(warehouse) == pytest.approx({0: 1.2, 1: 1.3, 2: 1.2}), "what is settled stays"
        other = stored.settings(tmp_path / "w", prometheus_url=server.url, pue={"query": f"0 + {SITE}"})
        assert refresh(other, now + HOUR).ask(hours, Refreshed()).num_rows == 3, "another expression, another source"


def test_a_figure_that_turns_out_to_be_no_pue_is_withdrawn_and_told(tmp_path: Path) -> None:
    with real_victoria(tmp_path / "data") as server:
        push(server.url, IT | {written("facility"): watts(1200.0, 1200.0)})
        given = stored.settings(tmp_path / "w", prometheus_url=server.url, pue={"query": SITE})
        refresh(given, HOURS[2]).ask(HOURS, Refreshed())
        push(server.url, {written("facility", feed="2"): watts(None, 1900.0)})
        done = Refreshed()
        told = refresh(given, HOURS[3]).ask(HOURS, done).to_pylist()
        assert [(row["start_utc"], row["pue_ratio"]) for row in told] == [(HOURS[1], None)]
        assert done.warnings == [
            "1 hours from 2026-11-03T01:00Z on have no PUE: its query gives 3.1 there, 1 to 3 is taken"
        ]


def test_a_dry_run_asks_and_stores_nothing(tmp_path: Path) -> None:
    with real_victoria(tmp_path / "data") as server:
        push(server.url, IT | {written("facility"): watts(1200.0)})
        given = stored.settings(tmp_path / "w", prometheus_url=server.url, pue={"query": SITE})
        assert refresh(given, HOURS[2], dry_run=True).ask(HOURS, Refreshed()).num_rows == 1
        assert not (tmp_path / "w").exists()


def test_a_server_that_is_away_is_a_problem_of_the_run_and_no_figure(tmp_path: Path) -> None:
    given = stored.settings(tmp_path, pue={"query": SITE})
    given = given.model_copy(update={"http": given.http.model_copy(update={"retry_seconds": 0.0})})
    done = Refreshed()
    assert refresh(given, HOURS[4]).ask(HOURS, done).num_rows == 0
    assert [type(problem) for problem in done.problems] == [SourceUnavailable]


# --- a whole run


def ran(folder: Path, url: str, pue: object, now: datetime) -> tuple[RunReport, ClusterOutcome, Warehouse]:
    entry = {
        "name": CLUSTER, "prometheus_url": url, "grid_zone": "DE", "pue": pue, "intensity": {"providers": ["static"]},
    }  # fmt: skip
    given = Settings.model_validate({"warehouse": {"path": str(folder / "w")}, "clusters": [entry]})
    report = run(Job(given, {}, StandingClock(now)), [CLUSTER], None)
    return report, report.clusters[0], Warehouse(folder / "w")


AFTER = SMALL_FLEET_START + 3 * HOUR + 30 * MINUTE
OF_HOUR = "1 + hour(vector(time() - 1)) / 100"  # 1.08 in the hour from 08:00 on


def test_a_run_prices_each_hour_with_what_the_query_gives_at_its_right_edge(
    tmp_path: Path, small_fleet_prometheus: RunningServer
) -> None:
    report, outcome, warehouse = ran(tmp_path, small_fleet_prometheus.url, {"query": OF_HOUR}, AFTER)
    assert (report.exit_code, outcome.warnings, outcome.failures) == (0, [], [])
    rows = warehouse.read_table("emissions").to_pylist()
    assert {row["hour_utc"].hour for row in rows} == {7, 8, 9, 10}
    for row in rows:
        assert row["pue_ratio"] == pytest.approx(1 + row["hour_utc"].hour / 100)
        assert row["pue_source"] == f"query:{OF_HOUR}"
        by_hand = row["energy_joules"] / 3.6e6 * row["pue_ratio"] * row["carbon_intensity_g_per_kwh"]
        assert row["emissions_gco2e"] == pytest.approx(by_hand, rel=1e-9)
    before = files(tmp_path)
    _, again, _ = ran(tmp_path, small_fleet_prometheus.url, {"query": OF_HOUR}, AFTER + MINUTE)
    assert (again.hours_rewritten, files(tmp_path)) == (0, before)


def test_a_query_of_several_series_fails_and_the_energy_is_kept(
    tmp_path: Path, small_fleet_prometheus: RunningServer
) -> None:
    pue = {"query": "kepler_node_cpu_active_joules_total"}
    report, outcome, warehouse = ran(tmp_path, small_fleet_prometheus.url, pue, AFTER)
    assert report.exit_code == 69
    assert [type(error) for error in report.errors] == [SourceMalformed]
    assert "series: let it give one" in outcome.failures[0]
    rows = warehouse.read_table("emissions").to_pylist()
    assert {row["emissions_gco2e"] for row in rows if row["energy_joules"]} == {None}
    assert sum(row["energy_joules"] for row in rows) > 0
    assert {row["intensity_quality"] for row in rows} == {"yearly_zone"}


def test_hours_without_a_pue_are_told_by_the_check_with_what_to_do(
    tmp_path: Path, small_fleet_prometheus: RunningServer
) -> None:
    report, outcome, _ = ran(tmp_path, small_fleet_prometheus.url, {"query": "vector(0.9)"}, AFTER)
    assert report.exit_code == 0
    (told,) = [check for check in outcome.checks if check.name == "pue"]
    assert (told.passed, told.required) == (False, False)
    assert told.detail.startswith("4 hours have no PUE (first 2026-11-01T07:00Z, ")
    assert [text.partition(" on ")[0] for text in outcome.warnings] == ["4 hours from 2026-11-01T07:00Z"]
    assert [check.passed for check in outcome.checks if check.name == "priced"] == [True]


def test_a_figure_that_comes_later_settles_in_the_next_run(
    tmp_path: Path, small_fleet_prometheus: RunningServer
) -> None:
    path = tmp_path / "pue.csv"
    path.write_text("start_utc,end_utc,pue_ratio\n2026-11-01T00:00Z,2026-11-01T10:00Z,1.2\n", encoding="utf-8")
    _, first, warehouse = ran(tmp_path, small_fleet_prometheus.url, {"csv": str(path)}, AFTER)
    assert [check.passed for check in first.checks if check.name == "pue"] == [False]
    with path.open("a", encoding="utf-8") as file:
        file.write("2026-11-01T10:00Z,2026-11-02T00:00Z,1.4\n")
    _, second, _ = ran(tmp_path, small_fleet_prometheus.url, {"csv": str(path)}, AFTER + MINUTE)
    assert second.hours_rewritten == 1
    rows = warehouse.read_table("emissions").to_pylist()
    assert {(row["hour_utc"].hour, row["pue_ratio"]) for row in rows} == {(7, 1.2), (8, 1.2), (9, 1.2), (10, 1.4)}
    assert {row["cause"] for row in table(warehouse, "revisions")} == {"pue"}
