"""The overview's expressions on real stores that hold a fleet with known sums."""

import math
from collections import defaultdict

import httpx
import pytest

from tests.dashboards import fleet
from tests.dashboards.answers import EXPRESSIONS, PRESETS, ask, column, figure
from tests.dashboards.expressions import DAY, HOUR, TimeRange
from tests.dashboards.store import KINDS, Site

pytestmark = pytest.mark.real
DAY_1, DAY_2 = 1741564800, 1741651200  # 2025-03-10 and 2025-03-11, midnight in UTC
CUT = "absolute, cut at :07"
WHOLE_DAYS = ("yesterday", "yesterday in New York", "yesterday in Kolkata", "this month")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, site: Site) -> httpx.Client:
    return site.stores[request.param]


def in_range(metric: str, chosen: TimeRange, **where: str) -> float:
    return fleet.total(metric, chosen.start_ms, chosen.end_ms, **where)


def same(value: float) -> object:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    ("panel", "metric", "unit"),
    [
        ("Emissions", "carbon_emissions_grams", 1),
        ("Facility energy", "carbon_facility_energy_joules", 3600),
        ("IT energy", "carbon_energy_joules", 3600),
    ],
)
def test_a_total_is_the_sum_of_the_samples_stamped_in_the_range(
    store: httpx.Client, panel: str, metric: str, unit: int, preset: str
) -> None:
    chosen = PRESETS[preset]
    assert figure(store, f"overview/{panel}", chosen) == same(in_range(metric, chosen) / unit)


@pytest.mark.parametrize("end", ["23:59:59.999", "23:59:59", "23:59:00"])
def test_yesterday_never_holds_an_hour_of_the_day_before(store: httpx.Client, end: str) -> None:
    chosen = TimeRange.between("2025-03-11T00:00Z", f"2025-03-11T{end}Z")
    assert figure(store, "overview/Emissions", chosen) == same(
        fleet.total("carbon_emissions_grams", DAY_2 * 1000, (DAY_2 + DAY) * 1000)
    )


def test_the_previous_range_is_the_day_before_yesterday(store: httpx.Client) -> None:
    expected = fleet.total("carbon_emissions_grams", DAY_1 * 1000, DAY_2 * 1000)
    assert figure(store, "overview/Emissions, previous range", PRESETS["yesterday"]) == same(expected)


def test_the_change_equals_that_of_the_totals_for_two_whole_days(store: httpx.Client) -> None:
    before, after = (fleet.total("carbon_emissions_grams", day * 1000, (day + DAY) * 1000) for day in (DAY_1, DAY_2))
    assert figure(store, "overview/Change of the hourly mean", PRESETS["yesterday"]) == same(after / before - 1)


def test_the_change_is_fair_to_a_day_that_is_not_over(store: httpx.Client) -> None:
    today = TimeRange.between("2025-03-11T00:00Z", "2025-03-11T23:59:59.999Z", now="2025-03-11T10:07Z")
    with_holes = TimeRange.between("2025-03-11T12:00Z", "2025-03-12T11:59:59.999Z")  # twelve of its hours are not there
    noon, midnight, before = (DAY_2 + 12 * HOUR, DAY_2 + 24 * HOUR, DAY_2 - 12 * HOUR)
    mean = fleet.total("carbon_emissions_grams", noon * 1000, midnight * 1000) / 12
    mean_before = fleet.total("carbon_emissions_grams", before * 1000, noon * 1000) / 24
    assert today.seconds == with_holes.seconds == DAY
    assert figure(store, "overview/Change of the hourly mean", with_holes) == same(mean / mean_before - 1)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != CUT])
def test_hourly_bars_add_up_to_the_total_of_the_range(store: httpx.Client, preset: str) -> None:
    chosen = PRESETS[preset]
    bars = ask(store, EXPRESSIONS["overview/Emissions per hour/A"], chosen)
    for labels, points in bars:
        assert math.fsum(v for _, v in points) == same(in_range("carbon_emissions_grams", chosen, **labels))
    assert math.fsum(v for _, points in bars for _, v in points) == same(in_range("carbon_emissions_grams", chosen))


def test_the_last_bar_is_a_whole_hour_where_an_absolute_range_cuts_it(store: httpx.Client) -> None:
    chosen = PRESETS[CUT]
    answer = ask(store, EXPRESSIONS["overview/Emissions per hour/A"], chosen)
    bars = math.fsum(v for _, points in answer for _, v in points)
    cut_hour = fleet.total("carbon_emissions_grams", chosen.end_ms, chosen.end_ms + HOUR * 1000)
    assert bars == same(in_range("carbon_emissions_grams", chosen) + cut_hour)


@pytest.mark.parametrize("panel", ["Emissions per hour/A", "Emissions per day/A"])
@pytest.mark.parametrize("preset", WHOLE_DAYS)
def test_daily_bars_add_up_to_the_total_of_whole_days(store: httpx.Client, preset: str, panel: str) -> None:
    chosen = PRESETS[preset]
    bars = ask(store, EXPRESSIONS[f"overview/{panel}"], chosen, DAY)
    assert math.fsum(v for _, points in bars for _, v in points) == same(in_range("carbon_emissions_grams", chosen))


def test_daily_bars_are_whole_days_where_the_range_cuts_them(store: httpx.Client) -> None:
    days: dict[float, float] = defaultdict(float)
    for _, points in ask(store, EXPRESSIONS["overview/Emissions per day/A"], PRESETS[CUT]):
        for stamp, value in points:
            days[stamp] += value
    grams = {day: fleet.total("carbon_emissions_grams", day * 1000, (day + DAY) * 1000) for day in (DAY_1, DAY_2)}
    assert days == {day: same(value) for day, value in grams.items()}


def test_a_bar_stands_where_its_hour_begins(store: httpx.Client) -> None:
    for labels, points in ask(store, EXPRESSIONS["overview/Emissions per hour/A"], PRESETS["yesterday"]):
        assert [stamp for stamp, _ in points] == [DAY_2 + hour * HOUR for hour in range(24)]
        for stamp, value in points:
            hour = fleet.total("carbon_emissions_grams", round(stamp) * 1000, round(stamp + HOUR) * 1000, **labels)
            assert value == same(hour)


@pytest.mark.parametrize("preset", PRESETS)
def test_kinds_and_components_add_up_and_name_idle_and_system(store: httpx.Client, preset: str) -> None:
    chosen = PRESETS[preset]
    for ref_id, metric, unit in (("A", "carbon_emissions_grams", 1.0), ("C", "carbon_energy_joules", 3.6e6)):
        rows = column(store, f"overview/By kind and component/{ref_id}", chosen)
        assert rows == {
            (component, kind): same(in_range(metric, chosen, component=component, kind=kind) / unit)
            for component in ("dram", "package")
            for kind in ("idle", "system", "workload")
        }
    assert math.fsum(column(store, "overview/By kind and component/D", chosen).values()) == same(1)


def test_top_workloads_hold_no_idle_and_agree_with_their_samples(store: httpx.Client) -> None:
    chosen = PRESETS["yesterday"]
    grams, energy, share = (column(store, f"overview/Top workloads/{ref_id}", chosen) for ref_id in "ABC")
    everything = in_range("carbon_emissions_grams", chosen)
    assert len(grams) == 6
    assert grams.keys() == energy.keys() == share.keys()
    for (cluster, namespace, workload, workload_kind), value in grams.items():
        labels = {"cluster": cluster, "namespace": namespace, "workload": workload, "workload_kind": workload_kind}
        key = (cluster, namespace, workload, workload_kind)
        assert value == same(in_range("carbon_emissions_grams", chosen, **labels))
        assert energy[key] == same(in_range("carbon_facility_energy_joules", chosen, **labels) / 3.6e6)
        assert share[key] == same(value / everything)


def _unpriced_joules(metric: str) -> float:
    cluster, hour = fleet.UNPRICED
    start = (fleet.FIRST_HOUR + hour * HOUR) * 1000
    return fleet.total(metric, start, start + HOUR * 1000, cluster=cluster)


@pytest.mark.parametrize("preset", ["yesterday", "this month"])
def test_intensity_is_weighted_by_the_energy_that_has_grams(store: httpx.Client, preset: str) -> None:
    chosen = PRESETS[preset]
    priced = in_range("carbon_facility_energy_joules", chosen) - _unpriced_joules("carbon_facility_energy_joules")
    expected = in_range("carbon_emissions_grams", chosen) / priced * 3.6e6
    assert figure(store, "overview/Grid intensity", chosen) == same(expected)


def test_pue_is_facility_over_it_energy(store: httpx.Client) -> None:
    chosen = PRESETS["last 24 hours at :07"]
    ratio = in_range("carbon_facility_energy_joules", chosen) / in_range("carbon_energy_joules", chosen)
    assert figure(store, "overview/PUE", chosen) == same(ratio)


def test_settled_hours_show_the_settled_intensity_beside_the_first(store: httpx.Client) -> None:
    def at(ref_id: str, cluster: str) -> dict[float, float]:
        answer = ask(store, EXPRESSIONS[f"overview/Grid intensity over time/{ref_id}"], PRESETS["yesterday"])
        [points] = [points for labels, points in answer if labels["cluster"] == cluster]
        return dict(points)

    settled, published = at("A", "alpha"), at("B", "alpha")
    assert (settled[DAY_2 + 2 * HOUR], published[DAY_2 + 2 * HOUR]) == (same(250), same(410))
    assert (settled[DAY_2 + 3 * HOUR], settled[DAY_2 + 4 * HOUR]) == (same(380), same(420))
    assert DAY_2 + 6 * HOUR not in at("A", "beta")  # an hour without intensity is a gap, not a zero


def test_restated_is_what_the_revisions_added(store: httpx.Client) -> None:
    chosen = PRESETS["yesterday"]
    corrections = in_range("carbon_emissions_grams", chosen, revision="1")
    assert corrections < 0
    assert figure(store, "overview/Restated", chosen) == same(corrections)
    day_1 = TimeRange.between("2025-03-10T00:00Z", "2025-03-10T23:59:59.999Z")
    assert figure(store, "overview/Restated", day_1) == 0


def test_the_share_without_grams_counts_energy_and_is_zero_where_all_is_priced(store: httpx.Client) -> None:
    chosen = PRESETS["yesterday"]
    expected = _unpriced_joules("carbon_energy_joules") / in_range("carbon_energy_joules", chosen)
    assert figure(store, "overview/Energy without grams", chosen) == same(expected)
    day_1 = TimeRange.between("2025-03-10T00:00Z", "2025-03-10T23:59:59.999Z")
    assert figure(store, "overview/Energy without grams", day_1) == 0


def test_quality_shares_add_up_to_one_and_follow_the_settling(store: httpx.Client) -> None:
    shares: dict[float, dict[str, float]] = defaultdict(dict)
    for labels, points in ask(store, EXPRESSIONS["overview/Quality of the intensity/A"], PRESETS["yesterday"]):
        for stamp, value in points:
            shares[stamp][labels["intensity_quality"]] = value
    assert len(shares) == 24
    assert all(math.fsum(by_quality.values()) == same(1) for by_quality in shares.values())
    assert shares[DAY_2 + 2 * HOUR]["estimated"] == 0
    assert shares[DAY_2 + 6 * HOUR]["missing"] > 0.1


@pytest.mark.parametrize(
    ("preset", "first", "last"),
    [
        ("yesterday", DAY_2, DAY_2 + DAY),
        (CUT, DAY_1 + 14 * HOUR, DAY_2 + 14 * HOUR),
        ("last 24 hours at :07", DAY_2, DAY_2 + DAY),
        ("this month", DAY_1, DAY_2 + DAY),
    ],
)
def test_data_from_and_to_are_the_edges_of_the_published_hours(
    store: httpx.Client, preset: str, first: int, last: int
) -> None:
    chosen = PRESETS[preset]
    start, end, hours = (column(store, f"overview/Data in the range/{ref_id}", chosen) for ref_id in "ABC")
    assert start == dict.fromkeys([("alpha",), ("beta",)], first * 1000)
    assert end == dict.fromkeys([("alpha",), ("beta",)], last * 1000)
    assert hours == dict.fromkeys([("alpha",), ("beta",)], (last - first) / HOUR)


def test_freshness_is_as_of_now_even_where_the_range_ends_later(store: httpx.Client) -> None:
    chosen = PRESETS["this month"]
    assert chosen.now_ms is not None
    last_run = DAY_2 + 23 * HOUR + 725  # the run of 00:12 is still ahead at 00:07
    answer = ask(store, EXPRESSIONS["overview/Since the last success/A"], chosen)
    assert {labels["cluster"]: points[0][1] for labels, points in answer} == dict.fromkeys(
        ("alpha", "beta"), same(chosen.now_ms / 1000 - last_run)
    )


def test_failed_checks_are_counted_once_and_zero_is_said(store: httpx.Client) -> None:
    assert figure(store, "overview/Failed checks", PRESETS["yesterday"]) == 1
    day_1 = TimeRange.between("2025-03-10T00:00Z", "2025-03-10T23:59:59.999Z")
    assert figure(store, "overview/Failed checks", day_1) == 0


def test_a_chosen_namespace_with_brackets_is_found_as_grafana_escapes_it(store: httpx.Client) -> None:
    chosen = PRESETS["yesterday"]
    idle = in_range("carbon_emissions_grams", chosen, namespace="(idle)", cluster="beta")
    assert figure(store, "overview/Emissions", chosen, namespace=r"\\(idle\\)", cluster="beta") == same(idle)
