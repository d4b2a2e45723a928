"""Which intensity prices an hour."""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.sources.grid import yearly
from pipeline.tables import INTENSITY
from pipeline.transforms.selection import QUALITIES, SLOTS, Answer, SelectionRule, Vintages, changed_vintages
from pipeline.window import Window
from tests.transforms.made import START

FIRST, SECOND = datetime(2026, 11, 4, tzinfo=UTC), datetime(2026, 11, 5, tzinfo=UTC)
NOW = datetime(2026, 12, 1, tzinfo=UTC)  # nothing is young any more
ALL = np.ones(SLOTS, dtype=bool)


def vintage(g_per_kwh: float | None, begin: float = 0, end: float = 60, **columns: object) -> dict[str, Any]:
    """Minutes from `START`; measured by neso unless told otherwise."""
    row: dict[str, Any] = {
        "zone": "GB", "provider": "neso", "signal": "average", "factor_type": "lifecycle", "basis": "production",
        "quality": "measured", "updated_utc": FIRST, "fetched_utc": FIRST, "model": None,
    }  # fmt: skip
    span = {"start_utc": START + timedelta(minutes=begin), "end_utc": START + timedelta(minutes=end)}
    return row | span | {"carbon_intensity_g_per_kwh": g_per_kwh} | columns


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), INTENSITY)


def select(
    *rows: dict[str, Any],
    providers: tuple[str, ...] = ("neso",),
    accept: str = "estimated",
    needed: np.ndarray = ALL,
    factor_type: str = "lifecycle",
) -> Answer:
    return Vintages(table(*rows)).select(START, needed, SelectionRule(providers, factor_type, accept), NOW)


def slots(answer: Answer) -> list[float]:
    return [float(value) for value in answer.slots_g_per_kwh]


def test_half_hours_fill_their_half_of_the_hour() -> None:
    answer = select(vintage(100, 0, 30), vintage(300, 30, 60))
    assert slots(answer) == [100.0] * 6 + [300.0] * 6
    assert len(set(answer.slot_vintage.tolist())) == 2


def test_g5_a_newer_half_hour_stands_over_an_older_hour_which_keeps_the_other_half() -> None:
    hour, half = vintage(100), vintage(140, 0, 30, fetched_utc=SECOND)
    assert slots(select(hour, half)) == slots(select(half, hour)) == [140.0] * 6 + [100.0] * 6


def test_g5_an_older_half_hour_does_not_stand_over_a_newer_hour() -> None:
    assert slots(select(vintage(100, fetched_utc=SECOND), vintage(140, 0, 30))) == [100.0] * 12


def test_of_vintages_fetched_together_the_one_updated_last_counts() -> None:
    assert slots(select(vintage(100, updated_utc=SECOND), vintage(140))) == [100.0] * 12
    assert slots(select(vintage(100, updated_utc=None), vintage(140))) == [140.0] * 12
    assert slots(select(vintage(140), vintage(100, updated_utc=None))) == [140.0] * 12


def test_f14_the_newest_vintage_counts_even_if_its_quality_fell() -> None:
    answer = select(vintage(100), vintage(140, quality="estimated", fetched_utc=SECOND))
    assert (slots(answer)[0], answer.quality) == (140.0, "estimated")


def test_a_null_is_a_withdrawal_and_the_next_provider_answers() -> None:
    rows = (
        vintage(100),
        vintage(None, fetched_utc=SECOND),
        vintage(450, provider="static", quality="yearly_country", zone="GB"),
    )
    assert select(*rows).quality == "missing"
    answer = select(*rows, providers=("neso", "static"))
    assert (answer.provider, answer.quality, slots(answer)[0]) == ("static", "yearly_country", 450.0)


def test_a_null_of_one_half_hour_withdraws_the_hour_if_that_half_has_energy() -> None:
    rows = (vintage(100), vintage(None, 30, 60, fetched_utc=SECOND))
    assert select(*rows).quality == "missing"
    assert select(*rows, needed=np.repeat([True, False], 6)).quality == "measured"


@pytest.mark.parametrize(
    ("accept", "provider"), [("measured", "neso"), ("estimated", "electricity_maps"), ("forecast", "electricity_maps")]
)
def test_the_first_provider_of_acceptable_quality_wins(accept: str, provider: str) -> None:
    rows = (vintage(100), vintage(140, provider="electricity_maps", quality="estimated"))
    assert select(*rows, providers=("electricity_maps", "neso"), accept=accept).provider == provider


def test_below_acceptance_the_best_quality_wins_and_ties_go_in_order() -> None:
    forecast = vintage(140, provider="a", quality="forecast")
    year = vintage(450, provider="b", quality="yearly_zone")
    same = vintage(451, provider="c", quality="yearly_zone")
    assert select(year, forecast, providers=("b", "a")).provider == "a"
    assert select(year, same, providers=("c", "b")).provider == "c"


@pytest.mark.parametrize(("better", "worse"), list(pairwise(QUALITIES[:-1])))
def test_qualities_fall_back_in_their_order(better: str, worse: str) -> None:
    rows = (vintage(1, provider="a", quality=worse), vintage(2, provider="b", quality=better))
    accepted = QUALITIES.index(worse) <= QUALITIES.index("estimated")  # then the order of providers decides
    assert select(*rows, providers=("a", "b")).quality == (worse if accepted else better)


def test_the_quality_of_an_hour_is_the_worst_of_its_steps_with_energy() -> None:
    rows = (vintage(100, 0, 30), vintage(300, 30, 60, quality="forecast", updated_utc=SECOND))
    answer = select(*rows)
    assert (answer.quality, answer.updated_utc) == ("forecast", SECOND)
    assert select(*rows, needed=np.repeat([True, False], 6)).quality == "measured"


def test_a_provider_that_misses_a_step_with_energy_gives_no_answer_at_all() -> None:
    rows = (vintage(100, 0, 55), vintage(450, provider="static", quality="yearly_zone"))
    answer = select(*rows, providers=("neso", "static"))
    assert slots(answer) == [450.0] * 12
    quiet_end = np.arange(SLOTS) < 11
    assert select(*rows, providers=("neso", "static"), needed=quiet_end).provider == "neso"


def test_a_slot_covered_by_half_is_not_covered() -> None:
    assert select(vintage(100, 0, 57.5)).quality == "missing"
    assert select(vintage(100, 2.5, 60)).quality == "missing"
    assert math.isnan(slots(select(vintage(100, 0, 57.5), needed=np.arange(SLOTS) < 11))[11])


def test_nothing_at_all_is_missing_and_names_nobody() -> None:
    answer = select()
    assert answer.quality == "missing"
    assert (answer.provider, answer.zone, answer.basis, answer.factor_type, answer.updated_utc) == (None,) * 5
    assert all(math.isnan(value) for value in slots(answer))


def test_an_hour_without_energy_wants_all_of_itself() -> None:
    nothing = np.zeros(SLOTS, dtype=bool)
    assert select(vintage(100, 0, 30), needed=nothing).quality == "missing"
    assert select(vintage(100), needed=nothing).quality == "measured"


def test_signals_factor_types_and_unlisted_providers_never_answer() -> None:
    foreign: list[dict[str, Any]] = [{"signal": "marginal"}, {"factor_type": "direct"}, {"provider": "watttime"}]
    for columns in foreign:
        assert select(vintage(100) | columns).quality == "missing"
    assert select(vintage(100, factor_type="direct"), factor_type="direct").quality == "measured"


def test_the_basis_of_an_hour_of_mixed_bases_is_unknown() -> None:
    rows = (vintage(100, 0, 30), vintage(300, 30, 60, basis="consumption"))
    assert select(*rows).basis == "unknown"
    assert select(rows[0], vintage(300, 30, 60)).basis == "production"


def test_hours_beside_do_not_answer() -> None:
    assert select(vintage(100, -60, 0), vintage(100, 60, 120)).quality == "missing"


def test_a_long_vintage_answers_every_hour_inside_it() -> None:
    assert slots(select(vintage(450, -10_000, 10_000))) == [450.0] * 12


# yearly averages: what the ladder's last rungs stand on


def test_g15_a_listed_zone_is_yearly_zone_and_an_unlisted_sub_zone_falls_to_its_country() -> None:
    assert yearly.code_of("DE") == ("DE", "yearly_zone")
    assert yearly.code_of("DE-NOWHERE") == ("DE", "yearly_country")
    assert yearly.code_of("QQ") is None


def test_g15_world_answers_only_by_name() -> None:
    assert yearly.code_of("WORLD") == ("WORLD", "world")
    assert yearly.code_of("WORLD-1") is None
    assert yearly.fetch("QQ", Window.of_hour(START)).num_rows == 0


@pytest.mark.parametrize(
    ("zone", "quality"),
    [("DE", "yearly_zone"), ("DE-NOWHERE", "yearly_country"), ("WORLD", "world"), ("QQ", "missing")],
)
def test_the_embedded_table_prices_an_hour_with_its_own_quality(zone: str, quality: str) -> None:
    vintages = Vintages(yearly.fetch(zone, Window.of_hour(START)))
    answer = vintages.select(START, ALL, SelectionRule(("static",), "lifecycle", "estimated"), NOW)
    assert answer.quality == quality
    assert (answer.provider is None) == (quality == "missing")
    assert vintages.select(START, ALL, SelectionRule(("static",), "direct", "estimated"), NOW).quality == "missing"


def test_g15_a_year_before_the_table_has_no_answer() -> None:
    early = datetime(1950, 1, 1, tzinfo=UTC)
    assert yearly.fetch("DE", Window.of_hour(early)).num_rows == 0


# which vintages are worth storing


def test_the_same_answer_again_is_not_stored() -> None:
    assert changed_vintages(table(vintage(100, fetched_utc=SECOND)), table(vintage(100))).num_rows == 0


@pytest.mark.parametrize(
    "columns",
    [
        {"carbon_intensity_g_per_kwh": 100.05},  # g7: below a thousandth, still another answer
        {"carbon_intensity_g_per_kwh": None},
        {"quality": "estimated"},
        {"basis": "consumption"},
        {"updated_utc": SECOND},
        {"model": "v2"},
    ],
)
def test_any_difference_is_a_vintage(columns: dict[str, Any]) -> None:
    assert changed_vintages(table(vintage(100) | columns), table(vintage(100))).num_rows == 1


def test_a_span_that_is_not_wholly_known_is_a_vintage() -> None:
    assert changed_vintages(table(vintage(100)), table(vintage(100, 0, 30))).num_rows == 1
    halves = table(vintage(100, 0, 30), vintage(100, 30, 60))
    assert changed_vintages(table(vintage(100)), halves).num_rows == 0
    assert changed_vintages(table(vintage(100, 0, 30)), table(vintage(100))).num_rows == 0


def test_vintages_of_another_source_are_no_knowledge() -> None:
    assert changed_vintages(table(vintage(100)), table(vintage(100, zone="FR"))).num_rows == 1
    assert changed_vintages(table(vintage(100)), table(vintage(100, provider="csv"))).num_rows == 1


def young(*rows: dict[str, Any], hours_after: float = 1, providers: tuple[str, ...] = ("neso",)) -> Answer:
    """The answer some hours after `START`'s end."""
    now = START + timedelta(hours=1 + hours_after)
    return Vintages(table(*rows)).select(START, ALL, SelectionRule(providers, "lifecycle", "estimated"), now)


@pytest.mark.parametrize(("begin", "carried"), [(-60, True), (60, True), (-180, True), (180, True), (-240, False)])
def test_a_young_hour_is_carried_by_the_nearest_whole_hour_at_most_three_hours_away(
    begin: int, *, carried: bool
) -> None:
    answer = young(vintage(120, begin, begin + 60))
    assert answer.quality == ("carried" if carried else "missing")
    assert slots(answer) == [120.0] * 12 if carried else np.isnan(answer.slots_g_per_kwh).all()


def test_of_two_hours_equally_near_the_earlier_carries_and_by_its_mean() -> None:
    rows = [vintage(100, -60, -30), vintage(300, -30, 0), vintage(900, 60, 120)]
    answer = young(*rows)
    assert slots(answer) == [200.0] * 12
    assert len(set(answer.slot_vintage.tolist())) == 1


def test_half_an_hour_carries_nobody() -> None:
    assert young(vintage(100, -30, 0)).quality == "missing"


def test_an_hour_of_48_h_is_carried_no_more() -> None:
    assert young(vintage(100, -60, 0), hours_after=47.9).quality == "carried"
    assert young(vintage(100, -60, 0), hours_after=48).quality == "missing"


def test_any_figure_of_the_hour_itself_stands_before_a_carried_one_of_a_better_provider() -> None:
    own = vintage(500, provider="watttime", quality="forecast")
    answer = young(vintage(100, -60, 0), own, providers=("neso", "watttime"))
    assert (answer.provider, answer.quality) == ("watttime", "forecast")


def test_a_carried_figure_stands_before_a_yearly_one() -> None:
    yearly_row = vintage(400, -600, 600, provider="static", quality="yearly_zone")
    answer = young(vintage(100, -60, 0), yearly_row, providers=("static", "neso"))
    assert (answer.provider, answer.quality) == ("neso", "carried")


def test_a_withdrawn_hour_may_be_carried_and_a_withdrawn_neighbour_carries_nobody() -> None:
    assert young(vintage(None), vintage(100, -60, 0)).quality == "carried"
    assert young(vintage(None, -60, 0)).quality == "missing"


def kept(offered: list[dict[str, Any]], stored: list[dict[str, Any]]) -> list[tuple[int, int, float]]:
    """What becomes a vintage: from and to in minutes after `START`, and g/kWh."""
    rows = changed_vintages(table(*offered), table(*stored)).to_pylist()
    minute = timedelta(minutes=1)
    return [
        ((r["start_utc"] - START) // minute, (r["end_utc"] - START) // minute, r["carbon_intensity_g_per_kwh"])
        for r in rows
    ]


def test_of_two_figures_of_one_hour_only_the_newer_is_stored_and_none_again() -> None:
    older, newer = vintage(100, updated_utc=FIRST), vintage(120, updated_utc=SECOND)
    for offered in ([older, newer], [newer, older]):
        assert kept(offered, []) == [(0, 60, 120.0)]
        assert kept(offered, [newer]) == []


def test_a_newer_half_hour_over_an_hour_leaves_the_other_half_and_neither_is_stored_again() -> None:
    hour, half = vintage(100, updated_utc=FIRST), vintage(140, 0, 30, updated_utc=SECOND)
    assert kept([hour, half], []) == [(0, 30, 140.0), (30, 60, 100.0)]
    assert kept([hour, half], [half, vintage(100, 30, 60, updated_utc=FIRST)]) == []


def test_only_the_part_that_differs_is_stored() -> None:
    day = vintage(100, 0, 1440)
    assert kept([day], [vintage(100, 0, 600)]) == [(600, 1440, 100.0)]
    assert kept([day], [vintage(100, 0, 600), vintage(90, 600, 660), vintage(100, 660, 1440)]) == [(600, 660, 100.0)]
    assert kept([vintage(100, 600, 660)], [day]) == []
