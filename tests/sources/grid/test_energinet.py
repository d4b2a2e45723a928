"""Energinet: five minutes each, UTC though no zone is named, one price area, and an outlook kept apart."""

import json
from datetime import datetime

import pytest

from pipeline.errors import ConfigError, SourceMalformed
from pipeline.settings.intensity import EnerginetTable
from pipeline.sources.grid.energinet import Energinet
from pipeline.sources.grid.web import NothingThere
from pipeline.tables import FORECASTS
from pipeline.window import HOUR
from tests.misbehaving import Answer, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.grid.asking import HTTP, ask, came, figures, recorded, rows, utc

ASK = ask("DK1", "10-25T01:00", "10-25T02:00")
DAY = ask("DK1", "11-01T00:00", "11-02T00:00")
HISTORY, OUTLOOK = recorded("energinet/co2emis.json"), recorded("energinet/co2emisprog.json")
EMPTY = b'{"total":0,"records":[]}'


def energinet(**table: str) -> Energinet:
    return Energinet(EnerginetTable.model_validate(table), HTTP, {}, StillClock())


def records(*every: dict[str, object], **beside: object) -> bytes:
    row = {"Minutes5UTC": "2026-11-01T12:00:00", "PriceArea": "DK1", "CO2Emission": 100.0}
    return json.dumps({"records": [row | changed for changed in every]} | beside).encode()


def test_figures_are_of_the_five_minutes_that_begin_then_in_utc() -> None:
    # 00:55 was not asked, 01:10 is not there, 01:15 is there twice
    assert figures(energinet(), came(ASK, HISTORY)) == {
        "10-25T01:00+5": 120.0, "10-25T01:05+5": None, "10-25T01:15+5": 125.5, "10-25T01:20+5": 0.0,
    }  # fmt: skip


def test_every_column_of_a_row_is_filled() -> None:
    payload = came(ASK, HISTORY)
    assert rows(energinet(), payload)[0] == {
        "zone": "DK1", "start_utc": utc("10-25T01:00"), "end_utc": utc("10-25T01:05"),
        "carbon_intensity_g_per_kwh": 120.0, "provider": "energinet", "signal": "average", "factor_type": "direct",
        "basis": "consumption", "quality": "estimated", "updated_utc": None, "model": None,
        "fetched_utc": payload.fetched_utc, "payload_id": payload.payload_id,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-28T23:00", 23), ("2026-10-24T22:00", 25)], ids=["spring", "autumn"]
)
def test_a_danish_day_of_a_clock_change_has_its_hours(day: str, hours: int) -> None:
    start = datetime.fromisoformat(f"{day}+00:00")
    stamps = [start + n * HOUR / 12 for n in range(12 * hours)]
    body = records(*({"Minutes5UTC": f"{stamp:%FT%T}"} for stamp in stamps))
    parsed = rows(energinet(), came(ask("DK1", "01-01T00:00", "11-01T00:00"), body))
    assert [row["start_utc"] for row in parsed] == stamps


def test_what_was_not_over_when_it_was_fetched_does_not_count() -> None:
    body = records(*({"Minutes5UTC": f"2026-11-01T12:{minute:02}:00"} for minute in (0, 5, 10)))
    assert list(figures(energinet(), came(DAY, body, fetched=utc("11-01T12:11")))) == ["11-01T12:00+5", "11-01T12:05+5"]


def test_a_time_may_say_that_it_is_utc() -> None:
    body = records({"Minutes5UTC": "2026-11-01T12:00:00Z"})
    assert list(figures(energinet(), came(DAY, body))) == ["11-01T12:00+5"]


def test_a_request_asks_one_area_in_utc_and_all_of_it() -> None:
    with misbehaving(Answer(body=EMPTY)) as server:
        payloads = list(energinet(base_url=server.url).fetch(ask("DK1", "10-01T00:00", "11-02T00:00")))
    assert [asked.path for asked in server.asked] == ["/dataset/CO2Emis"] * 2
    assert server.asked[1].parameters == {
        "start": "2026-11-01T00:00", "end": "2026-11-02T00:00", "timezone": "UTC", "sort": "Minutes5UTC ASC",
        "filter": '{"PriceArea":["DK1"]}', "limit": "0",
    }  # fmt: skip
    assert [p.ask for p in payloads] == [ask("DK1", "10-01T00:00", "11-01T00:00"), DAY]


def test_an_outlook_is_a_forecast_issued_when_it_was_fetched() -> None:
    with misbehaving(Answer(body=OUTLOOK)) as server:
        asking = energinet(base_url=server.url)
        payload = asking.fetch_forecast("DK2", "average", "direct")
        assert server.asked[0].path == "/dataset/CO2EmisProg"
        assert (server.asked[0].parameters["start"], server.asked[0].parameters["end"]) == (
            "2026-11-02T03:00", "2026-11-04T03:00",
        )  # fmt: skip
    table = asking.parse_forecast(payload)
    assert table.schema == FORECASTS
    common = {
        "zone": "DK2", "provider": "energinet", "signal": "average", "factor_type": "direct",
        "issued_utc": payload.fetched_utc, "fetched_utc": payload.fetched_utc, "payload_id": payload.payload_id,
    }  # fmt: skip
    assert table.to_pylist() == [
        common | {"start_utc": utc(start), "end_utc": utc(end), "carbon_intensity_g_per_kwh": value}
        for start, end, value in (("11-02T03:00", "11-02T03:05", 88.0), ("11-02T03:05", "11-02T03:10", 90.0))
    ]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "no JSON"),
        (b"[]", "documents records"),
        (b'{"records":[3]}', "documents records"),
        (records({}, total=100), "1 of 100 records"),
        (records({"PriceArea": "DK2"}), "price area 'DK2', though 'DK1' was asked"),
        (b'{"records":[{"PriceArea":"DK1"}]}', "without CO2Emission"),
        (records({"Minutes5UTC": None}), "a time with a zone"),
        (records({"Minutes5UTC": "2026-11-01T12:00:00+01:00"}), "a time with a zone"),
        (records({"Minutes5UTC": "2026-11-01T12:03:00"}), "not of whole five minutes"),
        (records({"CO2Emission": "100"}), "a number or null"),
        (records({"CO2Emission": -1}), "no intensity"),
        (records({"CO2Emission": 5000}), "no intensity"),
    ],
)
def test_what_is_not_documented_is_refused_by_name(body: bytes, says: str) -> None:
    with pytest.raises(SourceMalformed, match=says):
        energinet().parse(came(DAY, body))


def test_there_is_only_denmark_in_two_areas() -> None:
    assert [energinet().zone_of(zone) for zone in ("DK-DK1", "DK-DK2", "DK1")] == ["DK1", "DK2", "DK1"]
    assert energinet(zone="DK2").zone_of("DK") == "DK2"
    for table, zone in (({}, "DK"), ({}, "SE-SE4"), ({"zone": "DK-DK1"}, "DK-DK1")):
        with pytest.raises(ConfigError, match=r"DK1 \(west\) or DK2 \(east\)"):
            energinet(**table).zone_of(zone)


def test_a_check_tells_the_newest_figure() -> None:
    body = records({"Minutes5UTC": "2026-11-02T02:50:00", "CO2Emission": 90.5}, {"Minutes5UTC": "2026-11-02T02:45:00"})
    with misbehaving(Answer(body=body), Answer(body=EMPTY)) as server:
        asking = energinet(base_url=server.url)
        assert list(asking.check("DK-DK1")) == ["DK1 at 2026-11-02T02:50Z: 90.5 g/kWh direct"]
        with pytest.raises(NothingThere, match="no figure of DK1 in the last six hours"):
            list(asking.check("DK-DK1"))
