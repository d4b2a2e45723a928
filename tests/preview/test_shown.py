"""What a page says of the answers: calculations, units, transformations and options as Grafana documents them."""

import math
from typing import Any

import pytest

from dashboards.preview.board import PreviewError
from dashboards.preview.colours import colour
from dashboards.preview.fields import configured, shown, value_colour
from dashboards.preview.figures import figures
from dashboards.preview.frames import Field, Frame, display_name
from dashboards.preview.reducers import CALCULATIONS, reduced
from dashboards.preview.transformations import transformed
from dashboards.preview.value_formats import formatted
from tests.preview.panels import panel

VALUES = [2.0, None, 8.0, 5.0, None]


@pytest.mark.parametrize(
    ("calculation", "value"),
    [
        ("lastNotNull", 5), ("last", None), ("firstNotNull", 2), ("first", 2), ("sum", 15), ("mean", 5), ("min", 2),
        ("max", 8), ("range", 6), ("count", 5), ("delta", 6), ("diff", 3), ("diffperc", 1.5), ("step", -3),
        ("distinctCount", 3), ("allIsNull", 0), ("stdDev", math.sqrt(6)),
    ],
)  # fmt: skip
def test_calculations_are_grafanas(calculation: str, value: float | None) -> None:
    assert reduced(calculation, VALUES) == (None if value is None else pytest.approx(value))


def test_of_nothing_every_calculation_is_null_or_a_count() -> None:
    counts = {"delta": 0, "allIsNull": 1, "distinctCount": 0}
    assert {name: reduced(name, [None]) for name in CALCULATIONS} == {n: counts.get(n) for n in CALCULATIONS}
    with pytest.raises(PreviewError, match="'median' is not known"):
        reduced("median", VALUES)


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (1234.5, "massg", None, "1.23 kg"), (59_800_000.0, "massg", None, "59.8 Mg"),
        (0.00042, "massg", 1, "420.0 µg"),
        (0.0, "massg", None, "0 g"), (-1090.0, "massg", None, "-1.09 kg"), (2.5, "masskg", None, "2.50 kg"),
        (250.4, "watth", 1, "250.4 Wh"), (0.34, "kwatth", None, "340 Wh"), (1500.0, "kwatth", None, "1.50 MWh"),
        (3.6e6, "joule", None, "3.60 MJ"), (0.123, "percentunit", None, "12.3%"), (12.3, "percent", 0, "12%"),
        (249.64, "suffix: gCO2e/kWh", 1, "249.6 gCO2e/kWh"), (5.0, "prefix:~", None, "~5"),
        (1500.0, "si:gCO2e", None, "1.50 kgCO2e"), (1500.0, "si:kgCO2e", None, "1.50 MgCO2e"),
        (1560.0, "dtdurations", None, "26 minutes"), (1565.0, "dtdurations", 1, "26 minutes, 5 seconds"),
        (0.0, "dtdurations", None, "0 seconds"), (-7200.0, "dtdurations", None, "2 hours ago"),
        (90.0, "s", None, "1.50 mins"), (0.25, "s", None, "250 ms"),
        (1763251200000.0, "dateTimeAsIso", None, "2025-11-16 00:00:00"),
        (1234567.0, "short", None, "1.23 Mil"), (1.0, "none", None, "1"), (1.488, "none", 3, "1.488"),
        (2.25, "", 1, "2.3"),
    ],
)  # fmt: skip
def test_units_are_written_as_grafana_writes_them(value: float, unit: str, decimals: int | None, text: str) -> None:
    assert formatted(value, unit, decimals) == text


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(PreviewError, match="'furlong' is not known"):
        formatted(1.0, "furlong")


def table(ref_id: str, name: str, *rows: tuple[str, float]) -> Frame:
    keys, values = zip(*rows, strict=True)
    time = Field("Time", "time", (60_000.0,) * len(rows))
    return Frame(ref_id, (time, Field("ns", "string", keys), Field(name, "number", values)))


A = table("A", "Value #A", ("shop", 3.0), ("llm", 5.0))
B = table("B", "Value #B", ("llm", 7.0), ("batch", 1.0))


def columns(frame: Frame) -> dict[str, tuple[Any, ...]]:
    return {display_name(one, [frame]): one.values for one in frame.fields}


def test_merge_joins_rows_on_the_columns_that_frames_share() -> None:
    [merged] = transformed([A, B], [{"id": "merge", "options": {}}])
    assert columns(merged) == {
        "Time": (60_000.0,) * 3, "ns": ("shop", "llm", "batch"),
        "Value #A": (3.0, 5.0, None), "Value #B": (None, 7.0, 1.0),
    }  # fmt: skip


def test_organize_hides_orders_and_renames() -> None:
    options = {"excludeByName": {"Time": True}, "indexByName": {"Value #A": 0, "ns": 1}, "renameByName": {"ns": "who"}}
    [found] = transformed([A], [{"id": "organize", "options": options}])
    assert columns(found) == {"Value #A": (3.0, 5.0), "who": ("shop", "llm")}


def test_sort_by_puts_nulls_last() -> None:
    steps = [{"id": "merge"}, {"id": "sortBy", "options": {"sort": [{"field": "Value #B", "desc": True}]}}]
    [found] = transformed([A, B], steps)
    assert columns(found)["ns"] == ("llm", "batch", "shop")


@pytest.mark.parametrize(("mode", "keys"), [("outer", ("batch", "llm", "shop")), ("inner", ("llm",))])
def test_join_by_field_puts_frames_side_by_side(mode: str, keys: tuple[str, ...]) -> None:
    [found] = transformed([A, B], [{"id": "joinByField", "options": {"byField": "ns", "mode": mode}}])
    assert found.fields[0].values == keys
    assert [one.name for one in found.fields] == ["ns", "Time", "Value #A", "Time", "Value #B"]


def test_reduce_makes_a_row_of_each_column_and_rename_takes_groups() -> None:
    steps = [
        {"id": "renameByRegex", "options": {"regex": "Value #(.)", "renamePattern": "of $1"}},
        {"id": "reduce", "options": {"reducers": ["sum", "max"]}},
    ]
    [found] = transformed([A, B], steps)
    assert columns(found) == {"Field": ("of A", "of B"), "Total": (8.0, 8.0), "Max": (5.0, 7.0)}


def test_an_unknown_transformation_is_refused_and_a_disabled_one_left_out() -> None:
    assert transformed([A], [{"id": "pivot", "disabled": True}]) == [A]
    with pytest.raises(PreviewError, match="'pivot' is not known"):
        transformed([A], [{"id": "pivot"}])


def test_overrides_come_after_defaults_and_in_their_order() -> None:
    overrides = [
        {"matcher": {"id": "byType", "options": "number"}, "properties": [{"id": "unit", "value": "joule"}]},
        {"matcher": {"id": "byName", "options": "Value #A"}, "properties": [{"id": "displayName", "value": "Grams"}]},
        {"matcher": {"id": "byFrameRefID", "options": "A"}, "properties": [{"id": "custom.width", "value": 80}]},
        {"matcher": {"id": "byRegexp", "options": "/^Value/"}, "properties": [{"id": "unit", "value": "massg"}]},
    ]
    [found] = configured(panel(defaults={"unit": "none", "custom": {"align": "left"}}, overrides=overrides), [A])
    _, ns, value = found.fields
    assert (display_name(value, [found]), value.config["unit"]) == ("Grams", "massg")
    assert value.config["custom"] == {"align": "left", "width": 80}
    assert ns.config["unit"] == "none"


def test_a_value_is_written_and_coloured_by_mappings_before_thresholds() -> None:
    steps = [{"color": "green", "value": None}, {"color": "orange", "value": 1}, {"color": "red", "value": 5}]
    mappings = [
        {"type": "value", "options": {"2": {"text": "two", "color": "blue"}}},
        {"type": "range", "options": {"from": 10, "to": None, "result": {"text": "many"}}},
        {"type": "special", "options": {"match": "null", "result": {"text": "none"}}},
    ]
    config = {"thresholds": {"mode": "absolute", "steps": steps}, "mappings": mappings, "unit": "massg", "noValue": "-"}
    one = Field("x", "number", (), config=config)
    assert [shown(one, value) for value in (0.5, 2.0, 11.0, None)] == ["500 mg", "two", "many", "none"]
    tints = [value_colour(one, value, "other") for value in (0.5, 1.0, 4.9, 5.0, 2.0)]
    assert tints == [colour(name) for name in ("green", "orange", "orange", "red", "blue")]
    bare = Field("x", "number", (), config={"noValue": "no data"})
    assert (shown(bare, None), value_colour(bare, 1.0, "other")) == ("no data", "other")


def test_a_stat_shows_the_calculation_of_each_column() -> None:
    times = Field("Time", "time", (0.0, 60_000.0))
    frames = [Frame("A", (times, Field("Value", "number", (1.0, 3.0), {"ns": name}))) for name in ("a", "b")]
    options = {"reduceOptions": {"calcs": ["sum"]}}
    found = figures(panel(options=options), configured(panel(defaults={"unit": "massg"}), frames))
    assert [(one.name, one.text, one.value) for one in found] == [("a", "4 g", 4.0), ("b", "4 g", 4.0)]
