"""A day in a real store follows its revisions: pending between milestones, corrected after them, or when asked."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pytest

from pipeline.publication import publish_cluster
from pipeline.report import ClusterOutcome, RunReport
from pipeline.report.stores import StoreOutcome
from pipeline.settings import Settings
from pipeline.sinks.partitions import nothing
from pipeline.sinks.sql import run_query
from pipeline.sinks.warehouse import DayTables, RunStamp, Warehouse
from pipeline.units import JOULES_PER_KWH
from pipeline.window import HOUR
from tests.clocks import FixedClock
from tests.loopback import LOOPBACK
from tests.sinks.publishing import server_of
from tests.sinks.rows import CLUSTER, commit, complete, day, emission, metered, pod, tables
from tests.sinks.servers import RealStore, real_prometheus

pytestmark = pytest.mark.real

START = datetime(2026, 1, 10, tzinfo=UTC)
HOURS = [START + n * HOUR for n in range(24)]
MIDNIGHT = START + 24 * HOUR
LATER = timedelta(minutes=13)  # how long after a whole hour a run comes
TWO_DAYS, WEEK = timedelta(hours=48), timedelta(days=7)

Amounts: TypeAlias = dict[tuple[str, str | None], float]


@dataclass(frozen=True)
class Site:
    """A warehouse of hand-made days, and a store."""

    folder: Path
    store_url: str
    horizon: str | None = None

    def commit(self, new: DayTables, hours: list[datetime], now: datetime, cluster: str = CLUSTER) -> None:
        """Make these the figures of the hours."""
        renamed = {
            name: getattr(new, name).set_column(
                getattr(new, name).schema.get_field_index("cluster"),
                "cluster",
                pa.array([cluster] * getattr(new, name).num_rows, pa.string()),
            )
            for name in ("emissions", "node_energy", "quarantine")
        }
        stamp = RunStamp(f"fold-{now:%d%H%M}", now, "digest")
        commit(Warehouse(self.folder), complete(hours), replace(new, **renamed, processes=None), stamp, cluster)

    def publish(
        self,
        now: datetime,
        cluster: str = CLUSTER,
        asked_from: datetime | None = None,
        on_effect: Callable[[str], None] = nothing,
        *,
        dry_run: bool = False,
    ) -> StoreOutcome:
        """What `run` does at that moment when all is priced; errors are raised."""
        store = {"name": "store", "url": f"{self.store_url}/api/v1/write"}
        settings = Settings.model_validate(
            {
                "warehouse": {"path": str(self.folder)},
                "clusters": [{"name": cluster, "prometheus_url": "http://127.0.0.1:9", "grid_zone": "DE", "pue": 1.5}],
                "remote_write": [store | ({"horizon": self.horizon} if self.horizon else {})],
                "http": {"retry_seconds": 0},
            }
        )
        outcome = ClusterOutcome(cluster, "lifecycle")
        report = RunReport(f"run-{now:%m%dT%H%M%S}", "run", now, dry_run)
        warehouse = Warehouse(self.folder, on_effect)
        for error in publish_cluster(settings, {}, FixedClock(now), warehouse, outcome, report, asked_from):
            raise error
        return outcome.stores[0]

    def ask(self, query: str) -> list[dict[str, Any]]:
        return list(run_query(self.folder, query).to_pylist())

    def assert_shown(self, hours: list[datetime], cluster: str = CLUSTER) -> None:
        """PromQL over the store gives, hour by hour and workload by workload, what DuckDB gives over the parquet."""
        stored = self.ask(
            "select hour_utc, kind, workload, sum(emissions_gco2e) as carbon_emissions_grams, sum(energy_joules) as "
            f"carbon_energy_joules, sum(facility_energy_kwh) * {JOULES_PER_KWH} as carbon_facility_energy_joules "
            f"from emissions where cluster = '{cluster}' group by all"
        )
        for series in ("carbon_emissions_grams", "carbon_energy_joules", "carbon_facility_energy_joules"):
            for hour in hours:
                expected = {(row["kind"], row["workload"]): row[series] for row in stored if row["hour_utc"] == hour}
                shown = sums(self.store_url, series, hour + HOUR, "1h", cluster)
                largest = max(abs(value) for value in shown.values())
                for key in expected.keys() | shown.keys():
                    assert shown[key] == pytest.approx(expected.get(key, 0.0), rel=1e-9, abs=1e-12 * largest), key


def sums(url: str, series: str, at: datetime, span: str, cluster: str, where: str = "") -> Amounts:
    """By kind and workload (null where there is none), revisions innermost, as every dashboard reads."""
    selector = f'{series}{{cluster="{cluster}"{where}}}[{span}]'
    query = f"sum by (kind, workload) (sum without (revision) (sum_over_time({selector})))"
    params: dict[str, str | float] = {"query": query, "time": at.timestamp(), "nocache": "1"}
    answer = LOOPBACK.get(f"{url}/api/v1/query", params=params).raise_for_status()
    found: Amounts = {}
    for one in answer.json()["data"]["result"]:
        kind, workload = one["metric"]["kind"], one["metric"]["workload"]
        found[kind, workload if kind == "workload" else None] = float(one["value"][1])
    return found


def moved(hours: list[datetime], intensity: float = 100.0) -> DayTables:
    """Beside `rows.day`: `db` is gone, `late` has come, `web` has more, idle less."""
    priced: dict[str, object] = {"carbon_intensity_g_per_kwh": intensity}
    emissions, nodes = [], []
    for hour in hours:
        emissions += [pod(hour, "web", 4.4e6, **priced), pod(hour, "late", 0.7e6, **priced)]
        emissions += [emission(hour, "system", 0.9e6, **priced), emission(hour, "idle", 0.2e6, **priced)]
        nodes.append(metered(hour, 5.1e6, 0.9e6, 0.2e6))
    return tables(emissions, nodes)


@contextmanager
def site_of(folder: Path, horizon: str | None = None) -> Iterator[tuple[Site, RealStore]]:
    with real_prometheus(folder / "store", window="10y") as server:
        yield Site(folder / "warehouse", server.url, horizon), server


def settled(hour: datetime, age: timedelta) -> datetime:
    """The first run after an hour passed a milestone."""
    return hour + HOUR + age + LATER


@pytest.mark.parametrize("kind", ["prometheus", "victoriametrics"])
def test_a_day_revised_twice_is_corrected_at_its_milestones_and_agrees_with_duckdb_and_revisions(
    kind: str, tmp_path: Path
) -> None:
    with server_of(kind, tmp_path) as server:
        site = Site(tmp_path / "warehouse", server.url)
        site.commit(day(HOURS), HOURS, MIDNIGHT)
        first = site.publish(MIDNIGHT + LATER)
        assert (first.hours_published, first.corrections_written, first.hours_unpublished) == (24, 0, 0)

        # The grid's figures change: all hours are pending, and the first of them is due two days after its end.
        before = sums(server.url, "carbon_emissions_grams", MIDNIGHT, "24h", CLUSTER)
        site.commit(day(HOURS, intensity=150.0), HOURS, MIDNIGHT + 5 * HOUR)
        waiting = site.publish(MIDNIGHT + 6 * HOUR)
        assert (waiting.samples_written, waiting.hours_pending, waiting.hours_unpublished) == (0, 24, 24)
        assert waiting.corrections_due_utc == (HOURS[0] + 49 * HOUR, HOURS[23] + 49 * HOUR)
        assert sums(server.url, "carbon_emissions_grams", MIDNIGHT, "24h", CLUSTER) == before

        # Eleven hours have passed 48 h, the others follow half a day later.
        part = site.publish(settled(HOURS[10], TWO_DAYS))
        assert (part.hours_published, part.hours_pending) == (11, 13)
        assert part.corrections_written == part.samples_written == 11 * (4 + 3)  # grams by workload and by node
        site.assert_shown(HOURS[:11])
        assert site.publish(settled(HOURS[10], TWO_DAYS) + LATER).samples_written == 0
        rest = site.publish(settled(HOURS[23], TWO_DAYS))
        assert (rest.hours_published, rest.hours_pending, rest.hours_unpublished) == (13, 0, 0)
        site.assert_shown(HOURS)
        changed = site.ask("select sum(new_emissions_gco2e - old_emissions_gco2e) as grams from revisions")[0]["grams"]
        entries = sums(server.url, "carbon_emissions_grams", MIDNIGHT, "24h", CLUSTER, ', revision="1"')
        assert math.fsum(entries.values()) == pytest.approx(changed, rel=1e-9)

        # Workloads come and go, idle falls: negative, late-only and vanishing entries a week after the hour.
        site.commit(moved(HOURS, 150.0), HOURS, settled(HOURS[23], TWO_DAYS) + 5 * HOUR)
        assert site.publish(settled(HOURS[23], TWO_DAYS) + 6 * HOUR).hours_pending == 24
        last = site.publish(settled(HOURS[23], WEEK))
        assert (last.hours_published, last.hours_unpublished) == (24, 0)
        site.assert_shown(HOURS)
        shown = sums(server.url, "carbon_emissions_grams", MIDNIGHT, "24h", CLUSTER)
        assert shown["workload", "db"] == pytest.approx(0.0, abs=1e-9 * before["workload", "db"])
        second = sums(server.url, "carbon_emissions_grams", MIDNIGHT, "24h", CLUSTER, ', revision="2"')
        assert second["idle", None] < 0 < second["workload", "web"]
        again = site.publish(settled(HOURS[23], WEEK) + HOUR)
        assert (again.samples_written, again.hours_published, again.hours_unpublished) == (0, 0, 0)


def test_a_pending_hour_is_counted_and_says_when_it_is_due(tmp_path: Path) -> None:
    with site_of(tmp_path) as (site, server):
        site.commit(day(HOURS), HOURS, MIDNIGHT)
        site.publish(MIDNIGHT + LATER)
        site.commit(day(HOURS[:3], intensity=150.0), HOURS[:3], MIDNIGHT + HOUR)
        for n in range(2, 5):
            outcome = site.publish(MIDNIGHT + n * HOUR)
        assert outcome.hours_unpublished == outcome.hours_pending == 3
        assert outcome.summary() == (
            "store: 0 samples written, 0 hours published, 3 not: 3 differ, corrected after 2026-01-12T01:00Z to "
            "2026-01-12T03:00Z, or now by `carbon-etl reprice`"
        )
        told = site.ask(
            "select hour_utc, state, revision, reason from hours where store = 'store' and state <> 'yes' order by 1"
        )
        assert [row["hour_utc"] for row in told] == HOURS[:3]
        assert {(row["state"], row["revision"]) for row in told} == {("no", 1)}
        assert told[0]["reason"] == (
            "7 series hold another value than the warehouse; corrected in the first run after 2026-01-12T01:00Z"
        )
        assert len(site.ask("from stored.hours where store = 'store'")) == 24 + 3, "told once, not in every run"
        at = (MIDNIGHT + 4 * HOUR + LATER).timestamp()
        assert server.query("last_over_time(carbon_etl_unpublished_hours[1h])", at) == {"": 3.0}


PASSES = [  # when an hour was published, when the next run comes, hours after its end; whether that run corrects
    (1, 47.9, False),
    (1, 48.0, True),
    (47.9, 48.1, True),
    (49, 167.9, False),
    (49, 168.1, True),
    (169, 719.9, False),
    (30, 500, True),
    (169, 720.1, True),
    (721, 2159.9, False),
    (721, 2160.1, True),
    (2161, 7000, False),
]


def test_a_milestone_that_passed_since_the_publication_is_what_corrects(tmp_path: Path) -> None:
    ends = START + HOUR
    with site_of(tmp_path) as (site, _):
        for number, (published, comes, corrects) in enumerate(PASSES):
            cluster = f"c{number}"
            site.commit(day(HOURS[:1]), HOURS[:1], ends + LATER, cluster)
            site.publish(ends + timedelta(hours=published), cluster)
            site.commit(day(HOURS[:1], intensity=130.0), HOURS[:1], ends + timedelta(hours=comes), cluster)
            outcome = site.publish(ends + timedelta(hours=comes), cluster)
            assert (outcome.corrections_written > 0, outcome.hours_pending == 0) == (corrects, corrects), comes


def test_no_run_corrects_after_the_last_milestone_but_a_person_does(tmp_path: Path) -> None:
    late = START + timedelta(days=100)
    with site_of(tmp_path) as (site, _):
        site.commit(day(HOURS[:2]), HOURS[:2], late)
        site.publish(late)
        site.commit(day(HOURS[:2], intensity=150.0), HOURS[:2], late + HOUR)
        outcome = site.publish(late + 2 * HOUR)
        assert (outcome.hours_pending, outcome.corrections_due_utc) == (2, None)
        assert outcome.summary().endswith("2 differ, corrected by `carbon-etl reprice`")
        assert site.publish(late + 3 * HOUR, asked_from=HOURS[1]).hours_unpublished == 1, "only what was asked for"
        site.assert_shown(HOURS[1:2])
        asked = site.publish(late + 4 * HOUR, asked_from=HOURS[0])
        assert (asked.corrections_written, asked.hours_unpublished) == (7, 0)
        site.assert_shown(HOURS[:2])


def test_a_slight_difference_counts_as_published_until_a_person_asks(tmp_path: Path) -> None:
    with site_of(tmp_path) as (site, _):
        site.commit(day(HOURS[:2]), HOURS[:2], MIDNIGHT)
        site.publish(MIDNIGHT)
        site.commit(day(HOURS[:2], intensity=100.09), HOURS[:2], MIDNIGHT + HOUR)
        outcome = site.publish(MIDNIGHT + 2 * HOUR)
        assert (outcome.samples_written, outcome.hours_published, outcome.hours_unpublished) == (0, 2, 0)
        assert outcome.reasons == [], "nothing is amiss"
        # Slight changes that add up are measured against what the store holds, not against the revision before.
        site.commit(day(HOURS[:2], intensity=100.18), HOURS[:2], MIDNIGHT + 3 * HOUR)
        assert site.publish(MIDNIGHT + 4 * HOUR).hours_pending == 2
        site.commit(day(HOURS[:2], intensity=100.08), HOURS[:2], MIDNIGHT + 5 * HOUR)
        at_milestone = site.publish(settled(HOURS[1], TWO_DAYS))
        assert (at_milestone.samples_written, at_milestone.hours_unpublished) == (0, 0)
        asked = site.publish(settled(HOURS[1], TWO_DAYS) + HOUR, asked_from=HOURS[1])
        assert (asked.corrections_written, asked.hours_published) == (7, 1)
        site.assert_shown(HOURS[1:2])


def test_only_the_cluster_that_changed_is_corrected(tmp_path: Path) -> None:
    with site_of(tmp_path) as (site, server):
        for cluster in ("prod", "test"):
            site.commit(day(HOURS[:2]), HOURS[:2], MIDNIGHT, cluster)
            site.publish(MIDNIGHT, cluster)
        site.commit(moved(HOURS[:2]), HOURS[:2], MIDNIGHT + HOUR, "prod")
        corrected = [site.publish(settled(HOURS[1], TWO_DAYS), cluster) for cluster in ("prod", "test")]
        assert [outcome.corrections_written > 0 for outcome in corrected] == [True, False]
        for cluster in ("prod", "test"):
            site.assert_shown(HOURS[:2], cluster)
        others = sums(server.url, "carbon_emissions_grams", MIDNIGHT, "24h", "test", ', revision!="0"')
        assert others == {}


class KilledError(BaseException):
    """Ends a run where SIGKILL would."""


def test_a_run_killed_before_it_notes_a_correction_does_not_correct_twice(tmp_path: Path) -> None:
    def kill(effect: str) -> None:
        if effect == "hours.temporary":
            raise KilledError

    with site_of(tmp_path) as (site, _):
        site.commit(day(HOURS[:2]), HOURS[:2], MIDNIGHT)
        with pytest.raises(KilledError):
            site.publish(MIDNIGHT, on_effect=kill)
        assert site.publish(MIDNIGHT + HOUR).samples_written == 0
        site.commit(moved(HOURS[:2]), HOURS[:2], MIDNIGHT + HOUR)
        with pytest.raises(KilledError):
            site.publish(settled(HOURS[1], TWO_DAYS), on_effect=kill)
        site.assert_shown(HOURS[:2])
        after = site.publish(settled(HOURS[1], TWO_DAYS) + HOUR)
        assert (after.samples_written, after.hours_published, after.hours_unpublished) == (0, 2, 0)
        site.assert_shown(HOURS[:2])


def test_a_store_that_was_down_at_a_milestone_is_corrected_by_the_next_run(tmp_path: Path) -> None:
    with site_of(tmp_path) as (site, server):
        site.commit(day(HOURS[:2]), HOURS[:2], MIDNIGHT)
        site.publish(MIDNIGHT)
        site.commit(day(HOURS[:2], intensity=150.0), HOURS[:2], MIDNIGHT + HOUR)
        server.kill()
        with pytest.raises(Exception, match="cannot be reached"):
            site.publish(settled(HOURS[1], TWO_DAYS))
        server.start()
        assert site.publish(settled(HOURS[1], TWO_DAYS) + HOUR).hours_published == 2
        site.assert_shown(HOURS[:2])


def test_hours_never_published_are_completed_though_a_milestone_passed_while_the_store_was_down(tmp_path: Path) -> None:
    with site_of(tmp_path) as (site, server):
        site.commit(day(HOURS[:2]), HOURS[:2], MIDNIGHT)
        server.kill()
        with pytest.raises(Exception, match="cannot be reached"):
            site.publish(MIDNIGHT)
        server.start()
        outcome = site.publish(settled(HOURS[1], TWO_DAYS))
        assert (outcome.hours_published, outcome.corrections_written, outcome.hours_unpublished) == (2, 0, 0)
        site.assert_shown(HOURS[:2])


def test_what_another_hand_published_waits_for_a_milestone_after_it_was_found(tmp_path: Path) -> None:
    """A warehouse that was lost and folded anew, or a second one by mistake: seen for two days before it is changed."""
    with site_of(tmp_path) as (site, server):
        site.commit(day(HOURS[:2]), HOURS[:2], MIDNIGHT)
        site.publish(MIDNIGHT)
        anew = Site(tmp_path / "anew", server.url)
        anew.commit(day(HOURS[:2], intensity=150.0), HOURS[:2], MIDNIGHT + HOUR)
        for n in (2, 3):
            found = anew.publish(MIDNIGHT + n * HOUR)
            assert (found.samples_written, found.hours_pending) == (0, 2)
        assert anew.publish(settled(HOURS[1], TWO_DAYS)).hours_published == 2
        anew.assert_shown(HOURS[:2])


def test_a_correction_beyond_the_horizon_is_counted_and_not_written(tmp_path: Path) -> None:
    with site_of(tmp_path, horizon="1d") as (site, _):
        site.commit(day(HOURS[20:]), HOURS[20:], MIDNIGHT)
        site.publish(MIDNIGHT + LATER)
        site.commit(day(HOURS[20:], intensity=150.0), HOURS[20:], MIDNIGHT + HOUR)
        outcome = site.publish(settled(HOURS[23], TWO_DAYS))
        assert (outcome.samples_written, outcome.hours_unpublished, outcome.hours_pending) == (0, 4, 0)
        assert "older than the store's horizon" in outcome.reasons[0]
        asked = site.publish(settled(HOURS[23], TWO_DAYS) + HOUR, asked_from=START)
        assert (asked.samples_written, asked.hours_unpublished) == (0, 4)
        wider = Site(site.folder, site.store_url, "30d")
        assert wider.publish(settled(HOURS[23], TWO_DAYS) + 2 * HOUR).hours_published == 4
        wider.assert_shown(HOURS[20:])


def test_a_dry_run_says_what_would_be_written_and_notes_nothing(tmp_path: Path) -> None:
    with site_of(tmp_path) as (site, _):
        site.commit(day(HOURS[:1]), HOURS[:1], MIDNIGHT)
        site.publish(MIDNIGHT)
        site.commit(day(HOURS[:1], intensity=150.0), HOURS[:1], MIDNIGHT + HOUR)
        outcome = site.publish(settled(HOURS[0], TWO_DAYS), dry_run=True)
        assert (outcome.samples_written, outcome.hours_unpublished) == (0, 1)
        assert outcome.reasons == ["7 samples would be written"]
        assert len(site.ask("from stored.hours where store = 'store'")) == 1
