"""RTE's eCO2mix: slots of a quarter or a half, settled figures before those in real time, null never zero."""

import json
from datetime import datetime, timedelta

import pytest

from pipeline.errors import ConfigError, SourceMalformed
from pipeline.settings.intensity import RteTable
from pipeline.sources.grid.rte import REAL_TIME, SETTLED, Rte
from pipeline.sources.grid.web import NothingThere
from pipeline.window import HOUR
from tests.misbehaving import Answer, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.grid.asking import HTTP, ask, came, figures, recorded, rows, utc

TR, CONS_DEF, RECORDS = (recorded(f"rte/{name}.json") for name in ("tr", "cons_def", "records"))
REAL_TIME_URL, SETTLED_URL = (f"http://rte/catalog/datasets/{name}/exports/json" for name in (REAL_TIME, SETTLED))
NIGHT = ask("FR", "11-01T22:00", "11-02T04:00")


def rte(**table: str) -> Rte:
    return Rte(RteTable.model_validate(table), HTTP, {}, StillClock())


def export(*slots: tuple[datetime, float | None]) -> bytes:
    return json.dumps([{"date_heure": start.isoformat(), "taux_co2": value} for start, value in slots]).encode()


def test_slots_are_quarters_or_halves_and_null_is_withdrawn_once_it_is_over() -> None:
    # it is 03:00: what begins then is not over; the quarters of 23:00 are rows of forecasts of demand alone
    assert figures(rte(), came(NIGHT, TR, REAL_TIME_URL)) == {
        "11-01T22:00+15": 21, "11-01T22:15+15": 22, "11-01T22:30+15": None, "11-01T22:45+15": 24,
        "11-01T23:00+30": 30, "11-01T23:30+30": 32, "11-02T00:30+30": None,
        "11-02T02:30+15": 40, "11-02T02:45+15": 41,
    }  # fmt: skip


def test_a_night_of_a_clock_change_keeps_both_its_hours_and_a_figure_counts_before_null() -> None:
    asked = ask("FR", "10-24T22:00", "10-25T23:00")
    assert figures(rte(), came(asked, CONS_DEF, SETTLED_URL)) == {
        "10-24T22:00+30": 10, "10-24T22:30+30": 11, "10-25T00:30+30": 15, "10-25T01:30+30": 17,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("day", "halves"), [("2026-03-28T23:00", 46), ("2026-10-24T22:00", 50)], ids=["spring", "autumn"]
)
def test_a_local_day_of_a_clock_change_has_its_half_hours(day: str, halves: int) -> None:
    start = datetime.fromisoformat(f"{day}+00:00")
    slots = [start + n * HOUR / 2 for n in range(halves)]
    payload = came(ask("FR", "01-01T00:00", "11-02T00:00"), export(*((s, 20.0) for s in slots)), SETTLED_URL)
    assert [row["start_utc"] for row in rows(rte(), payload)] == slots


def test_every_column_of_a_row_is_filled() -> None:
    payload = came(ask("FR", "11-01T23:00", "11-01T23:30"), TR, REAL_TIME_URL)
    row = {
        "zone": "FR", "start_utc": utc("11-01T23:00"), "end_utc": utc("11-01T23:30"),
        "carbon_intensity_g_per_kwh": 30.0, "provider": "rte", "signal": "average", "factor_type": "direct",
        "basis": "production", "quality": "estimated", "updated_utc": None, "model": "eco2mix-national-tr",
        "fetched_utc": payload.fetched_utc, "payload_id": payload.payload_id,
    }  # fmt: skip
    assert rows(rte(), payload) == [row]
    settled = came(payload.ask, TR, SETTLED_URL)
    assert rows(rte(), settled) == [row | {"quality": "measured", "model": "eco2mix-national-cons-def"}]


def test_an_answer_of_records_is_as_good_as_an_export() -> None:
    assert figures(rte(), came(NIGHT, RECORDS, REAL_TIME_URL)) == {"11-01T23:00+30": 30, "11-01T23:30+30": 32}


def test_a_request_asks_in_utc_two_hours_wider() -> None:
    with misbehaving(Answer(body=b"[]")) as server:
        (payload,) = rte(base_url=server.url).fetch(ask("FR", "11-01T00:30", "11-01T02:30"))
    assert [asked.path for asked in server.asked] == [
        f"/catalog/datasets/{name}/exports/json" for name in (SETTLED, REAL_TIME)
    ]
    assert server.asked[0].parameters == server.asked[1].parameters == {
        "select": "date_heure,taux_co2", "order_by": "date_heure", "timezone": "UTC",
        "where": "date_heure >= date'2026-10-31T22:00:00' AND date_heure < date'2026-11-01T05:00:00'",
    }  # fmt: skip
    assert payload.ask == ask("FR", "11-01T00:00", "11-01T03:00")


def test_no_hour_is_of_both_data_sets() -> None:
    start = utc("11-01T00:00")
    halves = [start + n * HOUR / 2 for n in range(-4, 48)]
    reached = utc("11-01T10:30")  # so the settled set ends within an hour, and its tail is null
    settled = export(*((s, 20.0 if s < reached else None) for s in halves))
    real_time = export(*((s, 30.0) for s in halves))
    with misbehaving(Answer(body=settled), Answer(body=real_time)) as server:
        asking = rte(base_url=server.url)
        payloads = list(asking.fetch(ask("FR", "11-01T00:00", "11-02T00:00")))
        assert "date_heure >= date'2026-11-01T08:00:00'" in server.asked[1].parameters["where"]
    assert [p.ask for p in payloads] == [
        ask("FR", "11-01T00:00", "11-01T10:00"), ask("FR", "11-01T10:00", "11-02T00:00"),
    ]  # fmt: skip
    parsed = [row for payload in payloads for row in rows(asking, payload)]
    assert [row["start_utc"] for row in parsed] == [start + n * HOUR / 2 for n in range(48)]
    assert [row["quality"] for row in parsed] == ["measured"] * 20 + ["estimated"] * 28


def test_a_span_that_is_settled_is_one_request() -> None:
    start = utc("10-01T00:00")
    with misbehaving(Answer(body=export(*((start + n * HOUR / 2, 20.0) for n in range(-4, 52))))) as server:
        payloads = list(rte(base_url=server.url).fetch(ask("FR", "10-01T00:00", "10-02T00:00")))
        assert len(server.asked) == 1
    assert [p.ask for p in payloads] == [ask("FR", "10-01T00:00", "10-02T00:00")]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "no JSON"),
        (b"7", "a list of records"),
        (b"[1]", "a list of records"),
        (b'{"results":null}', "a list of records"),
        (b'{"total_count":200,"results":[]}', "0 of 200 records"),
        (b'[{"date_heure":"2026-11-01T00:00:00+00:00"}]', "without taux_co2"),
        (b'[{"taux_co2":3}]', "None where it documents a time"),
        (b'[{"date_heure":"2026-11-01T00:00:00","taux_co2":3}]', "a time with a zone"),
        (b'[{"date_heure":"2026-11-01T00:00:00Z","taux_co2":"3"}]', "a number or null"),
        (b'[{"date_heure":"2026-11-01T22:00:00Z","taux_co2":-3}]', "no intensity"),
        (b'[{"date_heure":"2026-11-01T22:00:00Z","taux_co2":NaN}]', "no intensity"),
        (b'[{"date_heure":"2026-11-01T22:07:00Z","taux_co2":3}]', "not of whole five minutes"),
        (b'[{"date_heure":"2026-11-01T22:00:00Z","taux_co2":3,"perimetre":"Corse"}]', "'Corse', though 'France'"),
    ],
)
def test_what_is_not_documented_is_refused_by_name(body: bytes, says: str) -> None:
    with pytest.raises(SourceMalformed, match=says):
        rte().parse(came(NIGHT, body, REAL_TIME_URL))


def test_there_is_only_france() -> None:
    assert rte().zone_of("FR") == "FR"
    assert rte(zone="FR").zone_of("FR-COR") == "FR"
    for table, zone in (({}, "FR-COR"), ({}, "DE"), ({"zone": "BE"}, "FR")):
        with pytest.raises(ConfigError, match="only France"):
            rte(**table).zone_of(zone)


def test_a_check_tells_the_newest_figure() -> None:
    start = StillClock().now() - timedelta(hours=1)
    body = export((start, 40.0), (start + HOUR / 2, 41.5), (start + HOUR, None))
    with misbehaving(Answer(body=body), Answer(body=export((start, None)))) as server:
        assert list(rte(base_url=server.url).check("FR")) == ["FR at 2026-11-02T02:30Z: 41.5 g/kWh direct"]
        with pytest.raises(NothingThere, match="no figure in the last six hours"):
            list(rte(base_url=server.url).check("FR"))
