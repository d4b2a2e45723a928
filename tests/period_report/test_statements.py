"""What is told first: every way in which a total is less than it looks has one clear line, and nothing else has."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.books.periods import period_of
from pipeline.period_report.figures import Closed, Figures
from pipeline.period_report.statements import statements
from pipeline.window import HOUR
from tests.period_report import small
from tests.period_report.small import AFTER, EU, NOW, US

WARNING = "warning"


def lines(told: Figures) -> dict[str, str]:
    """Text by text, with its tone."""
    return {one.text: one.tone for one in statements(told)}


def the_one(told: Figures, words: str) -> tuple[str, str]:
    """The one line that has these words, with its tone."""
    ((text, tone),) = ((text, tone) for text, tone in lines(told).items() if words in text)
    return text, tone


def whole(told: Figures) -> Figures:
    """As if nothing lacked."""
    part = told.parts[0]
    coverage = tuple(
        replace(
            one, expected_hours=3, complete_hours=3, partial_hours=0, missing_hours=0, hole_node_hours=0,
            withheld_node_hours=0,
        )
        for one in told.coverage
    )  # fmt: skip
    prices = tuple(replace(price, intensity_quality="measured", intensity_provider="csv") for price in told.prices)
    now = replace(part.now, unpriced_energy_kwh=0.0)
    closed = tuple(Closed(name, AFTER, "lifecycle", 1.0, 1.0, 0, is_material=False, causes=None) for name in (EU, US))
    return replace(
        told, before_hours=48, parts=(replace(part, now=now),), coverage=coverage, prices=prices, closed=closed
    )


def test_of_a_whole_closed_period_only_good_is_told(told: Figures) -> None:
    assert lines(whole(told)) == {
        "All 6 cluster-hours are complete.": "good",
        "100.0 % of the energy is priced by measured grid figures.": "good",
        "The books are closed for prod-eu and prod-us, and nothing changed since.": "good",
    }


def test_what_lacks_is_told_with_its_size(told: Figures) -> None:
    assert lines(told) == {
        "Of 2026-10-31 6 of 48 cluster-hours are stored: part of the change is that.": "note",
        "7.00 kWh (19.4 % of the energy) have no grams for want of an intensity or PUE: the total lacks them.": WARNING,
        "Of 48 cluster-hours, 42 missing and 1 partial: energy used then is not in the totals.": WARNING,
        "Node-hours not metered throughout: 1 of 6; nothing is filled in.": WARNING,
        "Node-hours whose workloads contradict their machine's meter: 1; that energy counts as system.": WARNING,
        "80.6 % of the energy is priced by measured grid figures; the rest is estimated, stood in for, or not known "
        "(see Data quality).": "note",
        "These figures are not closed for prod-eu and prod-us: they may still change.": "note",
    }


def test_an_open_period_says_how_far_it_reaches(root: Path) -> None:
    told = small.figures(root, now=NOW + 2 * HOUR)
    text, tone = the_one(told, "not over")
    assert tone == "note"
    assert "figures reach to 2026-11-01 03:00 UTC, 3 of its 24 hours, and are compared with as many hours" in text


def test_a_cluster_that_began_within_the_period_is_said_to(told: Figures) -> None:
    began = replace(told, coverage=(replace(told.coverage[0], first_utc=NOW + 5 * HOUR),))
    assert the_one(began, "2026-11-01 05:00") == ("Of prod-eu nothing is stored before 2026-11-01 05:00 UTC.", "note")


def test_an_empty_period_is_said_to_be_empty_and_no_more(root: Path) -> None:
    assert lines(small.figures(root, period_of("2026-07", None, None))) == {
        "Nothing is stored of July 2026: there is nothing to report.": "warning"
    }


def test_a_cluster_without_anything_is_named(told: Figures) -> None:
    assert the_one(replace(told, absent_clusters=("edge",)), "edge") == (
        "Nothing is stored of edge in this period.", "warning",
    )  # fmt: skip


def test_without_a_period_before_that_is_said(told: Figures) -> None:
    alone = replace(told, is_before_known=False, parts=(replace(told.parts[0], before=None),))
    assert the_one(alone, "2026-10-31") == ("Nothing is stored of 2026-10-31: no change can be told.", "note")
    other = replace(told, parts=(replace(told.parts[0], before=None),))
    assert the_one(other, "no such grams")[1] == "note"


def test_two_methods_make_no_total(told: Figures) -> None:
    direct = replace(told.parts[0], factor_type="direct", scope="scope 2, location-based")
    text, tone = the_one(replace(told, parts=(told.parts[0], direct)), "no total")
    assert tone == "warning"
    assert "plus upstream (scope 3.3) and scope 2, location-based" in text


def test_a_new_method_or_provider_is_said_to_be_part_of_the_change(told: Figures) -> None:
    made = replace(told.provenance, before_method_versions=("0",), before_providers=("static",))
    changed = replace(told, provenance=made)
    assert the_one(changed, "versions 0 and 1")[1] == "note"
    assert the_one(changed, "static before")[1] == "note"
    assert not any("before" in text for text in lines(told))


def test_a_period_before_that_lacks_grams_is_said_to(told: Figures) -> None:
    part = told.parts[0]
    assert part.before is not None
    lacking = replace(told, parts=(replace(part, before=replace(part.before, unpriced_energy_kwh=2.7)),))
    assert the_one(lacking, "its total lacks")[0].startswith("Of 2026-10-31 10.0 % of the energy has no grams")


@pytest.mark.parametrize(
    ("is_material", "tone", "words"), [(True, "warning", "materially"), (False, "note", "not materially")]
)
def test_a_restated_closing_is_told_with_its_weight(told: Figures, is_material: bool, tone: str, words: str) -> None:  # noqa: FBT001 # a parameter of the test
    closed = Closed(EU, AFTER, "lifecycle", 2880.0, 3600.0, 2, is_material=is_material, causes="intensity")
    assert the_one(replace(told, closed=(closed,)), "restated") == (
        f"prod-eu was closed on 2026-11-02 at 2.9 kg and is {words} restated since, to 3.6 kg (intensity).",
        tone,
    )


def test_readings_that_no_machine_can_have_used_are_told(told: Figures) -> None:
    coverage = (replace(told.coverage[0], implausible_node_hours=2),)
    assert the_one(replace(told, coverage=coverage), "no machine")[1] == "warning"
