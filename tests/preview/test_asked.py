"""What is asked of the store: ranges, steps and variables as Grafana's documentation and source have them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from dashboards.preview.asking import Store
from dashboards.preview.board import Board, Panel, Place, PreviewError, boards
from dashboards.preview.frames import Frame, display_name
from dashboards.preview.interpolation import Choice, chosen, of_time, replaced
from dashboards.preview.intervals import (
    TimeRange,
    duration_seconds,
    duration_text,
    rate_interval_seconds,
    rounded,
    step_seconds,
    time_range,
)
from tests.misbehaving import Answer, Misbehaving, data, failure, misbehaving

NOW = datetime(2026, 11, 18, 10, 7, 30, tzinfo=UTC)  # a Wednesday
HOUR, DAY = 3600, 86400


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


WEEK = TimeRange(ms("2026-11-11T10:07:30Z"), ms("2026-11-18T10:07:30Z"), ms("2026-11-18T10:07:30Z"))


@pytest.mark.parametrize(
    ("first", "last", "start", "end"),
    [
        ("now-7d", "now", "2026-11-11T10:07:30Z", "2026-11-18T10:07:30Z"),
        ("now-1d/d", "now-1d/d", "2026-11-17T00:00Z", "2026-11-17T23:59:59.999Z"),
        ("now/w", "now/w", "2026-11-16T00:00Z", "2026-11-22T23:59:59.999Z"),
        ("now/M", "now/M", "2026-11-01T00:00Z", "2026-11-30T23:59:59.999Z"),
        ("now-30d/y", "now/h", "2026-01-01T00:00Z", "2026-11-18T10:59:59.999Z"),
    ],
)
def test_a_range_relative_to_now_is_rounded_to_its_edges(first: str, last: str, start: str, end: str) -> None:
    found = time_range({"from": first, "to": last}, NOW)
    assert (found.start_ms, found.end_ms) == (ms(start), ms(end))


def test_the_range_variable_is_rounded_to_seconds_so_that_yesterday_is_a_day() -> None:
    yesterday = time_range({"from": "now-1d/d", "to": "now-1d/d"}, NOW)
    known = of_time(yesterday, 90.0, 15.0)
    assert replaced("[$__range] ${__range_s} $__range_ms [[__interval]]", known) == "[86400s] 86400 86399999 90s"


def test_a_panel_with_its_own_time_ends_now_and_a_shift_moves_both_ends() -> None:
    old = TimeRange(0, DAY * 1000, WEEK.now_ms)
    assert old.over("7d", None) == WEEK
    assert old.over(None, "1h") == TimeRange(-HOUR * 1000, (DAY - HOUR) * 1000, WEEK.now_ms)


@pytest.mark.parametrize(
    ("span", "points", "least", "step"),
    [
        (7 * DAY, 1000, HOUR, HOUR),  # 604.8 s would do: the least step holds
        (7 * DAY, 1000, 15, 600),  # 10 m
        (365 * DAY, 1000, HOUR, 6 * HOUR),  # 8.76 h
        (365 * DAY, 500, DAY, DAY),  # 17.5 h
        (6 * HOUR, 1000, 15, 20),  # 21.6 s
    ],
)
def test_the_step_is_one_that_a_person_would_choose_and_never_below_the_least(
    span: int, points: int, least: float, step: float
) -> None:
    assert step_seconds(TimeRange(0, span * 1000, 0), least, points) == step


@pytest.mark.parametrize(
    ("wanted", "step"),
    [(0.01, 0.001), (12.5, 10), (12.6, 15), (90, 60), (91, 120), (5400, 3600), (5401, 7200), (4e6, 31536000)],
)
def test_steps_are_rounded_as_grafana_rounds_them(wanted: float, step: float) -> None:
    assert rounded(wanted) == step


def test_the_rate_interval_is_four_scrapes_or_a_step_and_one() -> None:
    assert rate_interval_seconds(20, 15) == 60
    assert rate_interval_seconds(HOUR, 15) == HOUR + 15


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h", 3600), ("7d", 7 * DAY), (">30s", 30), ("500ms", 0.5), ("1M", 2592000)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert duration_seconds(text) == seconds


def test_durations_are_written_in_the_largest_unit_that_holds_them_whole() -> None:
    assert [duration_text(s) for s in (86400, 7200, 90, 5400, 0.5)] == ["1d", "2h", "90s", "90m", "500ms"]


def no_values(_series: str, _label: str) -> list[str]:
    raise AssertionError("nothing is to be asked")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ({"type": "query", "includeAll": True, "multi": True, "allValue": ".+", "current": {"value": "$__all"}}, ".+"),
        ({"type": "query", "includeAll": True, "multi": True, "current": {"value": ["$__all"]}}, r"(a\\.b|c)"),
        ({"type": "query", "multi": True, "current": {"value": ["a.b"]}}, r"a\\.b"),
        ({"type": "query", "current": {"value": "a.b"}}, "a.b"),
        ({"type": "query", "current": {}}, "a.b"),
        ({"type": "query", "includeAll": True, "allValue": ".*", "current": {}}, ".*"),
    ],
)
def test_a_variable_stands_in_an_expression_as_the_prometheus_data_source_writes_it(
    variable: dict[str, Any], text: str
) -> None:
    told = {"name": "v", "query": {"query": 'label_values(up{x=~"$w"}, l)'}} | variable
    asked: list[tuple[str, str]] = []

    def values(series: str, label: str) -> list[str]:
        asked.append((series, label))
        return ["c", "a.b"]

    choice = chosen(told, values, {"w": Choice(("1",), ("1",))})
    assert asked == [('up{x=~"1"}', "l")]
    assert replaced("${v}", {"v": choice}) == text


def test_text_boxes_constants_and_custom_choices_are_at_their_defaults() -> None:
    custom = {
        "type": "custom", "name": "t", "current": {"value": "x|y"},
        "options": [{"text": "All", "value": ".+"}, {"text": "both", "value": "x|y"}],
    }  # fmt: skip
    assert chosen(custom, no_values, {}).text(None) == "x|y"
    assert chosen({"type": "textbox", "name": "b", "query": "5"}, no_values, {}).text(None) == "5"
    assert chosen({"type": "constant", "name": "c", "query": "k"}, no_values, {}).text(None) == "k"


@pytest.mark.parametrize(
    ("form", "text"),
    [("regex", r"(a\.b|c\/d)"), ("pipe", "a.b|c/d"), ("csv", "a.b,c/d"), ("raw", "a.b,c/d"), ("text", "A + C"),
     ("queryparam", "a.b&c/d")],
)  # fmt: skip
def test_a_variable_may_be_written_in_other_forms(form: str, text: str) -> None:
    assert Choice(("a.b", "c/d"), ("A", "C"), is_plural=True).text(form) == text


def test_moments_may_be_written_as_dates() -> None:
    known = of_time(WEEK, 60, 15)
    assert replaced("$__from ${__from:date:iso} ${__to:date:seconds}", known) == (
        f"{WEEK.start_ms} 2026-11-11T10:07:30.000Z {WEEK.end_ms // 1000}"
    )


def test_a_group_of_a_regex_is_no_variable_and_an_unknown_one_is_refused() -> None:
    assert replaced('label_replace(x, "a", "$1", "b", "(.+)")', {}).count("$1") == 1
    with pytest.raises(PreviewError, match="nowhere is no variable here"):
        replaced("up{a=~'$nowhere'}", {})
    with pytest.raises(PreviewError, match="'sqlstring' of a variable is not known"):
        Choice(("a",), ("a",)).text("sqlstring")


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ({"type": "adhoc"}, "of the type adhoc"),
        ({"type": "query", "query": "metrics(up)"}, "is no label_values"),
        ({"type": "custom", "options": []}, "has no value in this store"),
    ],
)
def test_a_variable_that_this_tool_does_not_know_is_refused(variable: dict[str, Any], says: str) -> None:
    with pytest.raises(PreviewError, match=says):
        chosen({"name": "v", "query": ""} | variable, no_values, {})


@contextmanager
def store(*answers: Answer) -> Iterator[tuple[Store, Misbehaving]]:
    with misbehaving(*answers) as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        yield Store(client, WEEK), server


def frames(of: Panel, answer: Answer) -> list[Frame]:
    with store(answer) as (asked, _):
        return asked.frames(of, {})


def panel(**model: object) -> Panel:
    return Panel(
        {"type": "stat", "title": "p", "targets": [{"refId": "A", "expr": "x[$__interval]"}]} | model, Place(0, 0, 1, 1)
    )


def test_an_instant_target_is_asked_at_the_end_and_a_range_at_whole_steps() -> None:
    target = {"refId": "A", "expr": "x[$__interval]"}
    with store(data([])) as (asked, server):
        assert asked.frames(panel(interval="1h", targets=[target | {"instant": True}]), {}) == []
        asked.frames(panel(targets=[target | {"interval": "1d"}], interval="1h"), {})
    assert [(one.path, one.parameters) for one in server.asked] == [
        ("/api/v1/query", {"query": "x[1h]", "time": f"{WEEK.end_ms / 1000:.3f}"}),
        (
            "/api/v1/query_range",
            {
                "query": "x[1d]", "step": "86400",
                "start": f"{ms('2026-11-11T00:00Z') / 1000:.3f}", "end": f"{ms('2026-11-18T00:00Z') / 1000:.3f}",
            },
        ),
    ]  # fmt: skip


@pytest.mark.parametrize(("legend", "names"), [("{{ns}} of {{none}}", ["a of ", "b of "]), ("__auto", ["a", "b"])])
def test_series_are_named_by_their_legend_or_by_what_tells_them_apart(legend: str, names: list[str]) -> None:
    answer = data([{"metric": {"ns": name}, "values": [[0, "1"], [60, "NaN"]]} for name in ("a", "b")])
    found = frames(panel(targets=[{"refId": "A", "expr": "x", "legendFormat": legend}]), answer)
    assert found[0].fields[1].values == (1.0, None)
    assert [display_name(frame.fields[1], found) for frame in found] == names


def test_a_table_has_a_column_a_label_and_the_value_by_its_target() -> None:
    answer = data([{"metric": {"b": "1", "a": "2"}, "value": [60, "5"]}, {"metric": {"a": "3"}, "value": [60, "6"]}])
    targets = [{"refId": ref, "expr": "x", "instant": True, "format": "table"} for ref in ("A", "B")]
    found = frames(panel(targets=targets), answer)
    assert [one.name for one in found[1].fields] == ["Time", "a", "b", "Value #B"]
    assert [one.values for one in found[0].fields] == [(60000.0, 60000.0), ("2", "3"), ("1", ""), (5.0, 6.0)]
    [alone] = frames(panel(targets=targets[:1]), answer)
    assert alone.fields[-1].name == "Value"


def test_a_refused_expression_is_told() -> None:
    with pytest.raises(PreviewError, match="parse error at 1"):
        frames(panel(), failure(400, "parse error at 1"))


def test_what_a_collapsed_row_holds_is_unfolded_below_it(tmp_path: Path) -> None:
    def model(kind: str, y: int, height: int, **more: object) -> dict[str, object]:
        return {"type": kind, "title": f"{kind} {y}", "gridPos": {"x": 0, "y": y, "w": 24, "h": height}} | more

    inner = [model("stat", 9, 4), model("table", 13, 2)]
    panels = [model("row", 1, 1, collapsed=True, panels=inner), model("text", 2, 3), model("stat", 0, 1)]
    board = {"title": "b", "panels": panels, "templating": {"list": []}}
    (tmp_path / "b.json").write_text(json.dumps(board), encoding="utf-8")
    [found] = boards(tmp_path)
    assert isinstance(found, Board)
    assert [(one.title, one.place.y) for one in found.panels()] == [
        ("stat 0", 0), ("row 1", 1), ("stat 9", 2), ("table 13", 6), ("text 2", 8),
    ]  # fmt: skip
