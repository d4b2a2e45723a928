"""ENTSO-E: blocks of power become steps priced by hand; what is no data, no access or too much is told apart."""

from datetime import datetime, timedelta

import pytest

from pipeline.errors import ConfigError, SourceError, SourceMalformed, SourceRejected
from pipeline.settings.intensity import EntsoeTable
from pipeline.sources.grid.entsoe import FUELS, Entsoe, areas
from pipeline.sources.grid.mix import RELEASE, factors
from pipeline.sources.grid.web import NothingThere
from pipeline.window import HOUR
from tests.misbehaving import Answer, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.grid.asking import ENV, HTTP, SECRET, ask, came, figures, recorded, rows, utc

EIC = "10YFR-RTE------C"
ASK = ask(EIC, "11-01T00:00", "11-02T00:00", "lifecycle")
FR, NO_DATA, TOO_MUCH = (recorded(f"entsoe/{name}.xml") for name in ("fr", "no_data", "too_much"))


def entsoe(**table: str | None) -> Entsoe:
    return Entsoe(EntsoeTable.model_validate({"token_env": "KEY"} | table), HTTP, ENV, StillClock())


def series(kind: str, start: datetime, end: datetime, points: dict[int, float], **other: str) -> str:
    """One TimeSeries of steps of 15 minutes, repeating, of France, unless `other` says so."""
    said = {"zone": EIC, "unit": "MAW", "curve": "A03", "resolution": "PT15M"} | other
    every = "".join(f"<Point><position>{n}</position><quantity>{v}</quantity></Point>" for n, v in points.items())
    return (
        f"<TimeSeries><inBiddingZone_Domain.mRID>{said['zone']}</inBiddingZone_Domain.mRID>"
        f"<quantity_Measure_Unit.name>{said['unit']}</quantity_Measure_Unit.name><curveType>{said['curve']}</curveType>"
        f"<MktPSRType><psrType>{kind}</psrType></MktPSRType><Period><timeInterval><start>{start:%FT%H:%MZ}</start>"
        f"<end>{end:%FT%H:%MZ}</end></timeInterval><resolution>{said['resolution']}</resolution>{every}</Period>"
        "</TimeSeries>"
    )


def market(*every: str) -> bytes:
    return f"<GL_MarketDocument>{''.join(every)}</GL_MarketDocument>".encode()


HALF_DAY = (utc("11-01T00:00"), utc("11-01T12:00"))


def test_blocks_of_power_are_steps_of_the_finest_length_in_their_hour_priced_by_hand() -> None:
    # nuclear 6000, 6000 (repeated), 5000; gas 4000, then 4000 2000 2000 (repeated) 0, then 5000 15000
    # pumped storage gives 700 and takes 99999: neither counts
    assert figures(entsoe(), came(ASK, FR)) == {
        "11-01T00:00": pytest.approx((6000 * 12 + 4000 * 490) / 10_000),
        "11-01T01:00+15": pytest.approx(203.2), "11-01T01:15+15": pytest.approx(131.5),
        "11-01T01:30+15": pytest.approx(131.5), "11-01T01:45+15": 12.0,
        "11-01T02:00+30": pytest.approx(251.0), "11-01T02:30+30": pytest.approx(370.5),
    }  # fmt: skip


def test_every_column_of_a_row_is_filled() -> None:
    payload = came(ask(EIC, "11-01T00:00", "11-01T01:00"), FR)
    assert rows(entsoe(), payload) == [{
        "zone": EIC, "start_utc": utc("11-01T00:00"), "end_utc": utc("11-01T01:00"),
        "carbon_intensity_g_per_kwh": pytest.approx(4000 * 370 / 10_000), "provider": "entsoe", "signal": "average",
        "factor_type": "direct", "basis": "production", "quality": "estimated", "updated_utc": None,
        "model": f"computed from mix, factors {RELEASE}", "fetched_utc": payload.fetched_utc,
        "payload_id": payload.payload_id,
    }]  # fmt: skip


def test_a_missing_position_repeats_only_where_the_curve_says_so() -> None:
    points = {2: 10.0, 5: 20.0}
    start, end = utc("11-01T00:00"), utc("11-01T01:30")
    repeated = figures(entsoe(), came(ASK, market(series("B04", start, end, points))))
    assert list(repeated) == [f"11-01T0{m // 60}:{m % 60:02}+15" for m in range(15, 90, 15)]
    fixed = figures(entsoe(), came(ASK, market(series("B04", start, end, points, curve="A01"))))
    assert list(fixed) == ["11-01T00:15+15", "11-01T01:00+15"]


def test_a_period_without_a_point_tells_nothing() -> None:
    start, end = HALF_DAY
    silent, gas = series("B19", start, end, {}), series("B04", start, end, {1: 10.0})
    assert figures(entsoe(), came(ASK, market(silent))) == {}
    assert figures(entsoe(), came(ASK, market(gas, silent))) == figures(entsoe(), came(ASK, market(gas)))


def test_the_order_of_points_and_of_series_does_not_matter() -> None:
    start, end = HALF_DAY
    gas, wind = {1: 10.0, 9: 30.0}, {1: 30.0, 20: 10.0}
    one = market(series("B04", start, end, gas), series("B19", start, end, wind))
    other = market(
        series("B19", start, end, dict(reversed(wind.items()))), series("B04", start, end, dict(reversed(gas.items())))
    )
    assert figures(entsoe(), came(ASK, one)) == figures(entsoe(), came(ASK, other))


def test_hard_coal_and_lignite_are_both_coal_and_what_is_not_named_is_told() -> None:
    start, end = utc("11-01T00:00"), utc("11-01T00:15")
    every = [series(kind, start, end, {1: 50.0}) for kind in ("B02", "B05", "B20", "B77")]
    (row,) = rows(entsoe(), came(ASK, market(*every)))
    assert row["carbon_intensity_g_per_kwh"] == pytest.approx((820 + 717) / 2)
    assert row["model"] == f"computed from mix, factors {RELEASE}; B20, B77 as unknown"


def test_only_what_was_over_when_it_was_fetched_and_was_asked_counts() -> None:
    start, end = HALF_DAY
    body = market(series("B04", start, end, {1: 10.0}))
    early = came(ask(EIC, "11-01T01:00", "11-01T12:00"), body, fetched=utc("11-01T02:20"))
    assert list(figures(entsoe(), early)) == [f"11-01T0{h}:{m:02}+15" for h, m in [
        (1, 0), (1, 15), (1, 30), (1, 45), (2, 0),
    ]]  # fmt: skip


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-28T23:00", 23), ("2026-10-24T22:00", 25)], ids=["spring", "autumn"]
)
def test_a_day_of_a_clock_change_has_its_hours(day: str, hours: int) -> None:
    start = datetime.fromisoformat(f"{day}+00:00")
    end = start + hours * HOUR
    body = market(series("B04", start, end, {1: 10.0}, resolution="PT60M"), series("B19", start, end, {1: 30.0}))
    asked = ask(EIC, "01-01T00:00", "11-01T00:00", "lifecycle")
    parsed = rows(entsoe(), came(asked, body))
    assert [row["start_utc"] for row in parsed] == [start + n * HOUR / 4 for n in range(hours * 4)]
    assert {row["carbon_intensity_g_per_kwh"] for row in parsed} == {(10 * 490 + 30 * 11) / 40}


def test_a_step_that_lacks_the_gas_of_the_day_before_waits_for_it() -> None:
    start = utc("10-31T00:00")
    whole = series("B19", start, start + 48 * HOUR, {1: 50.0})
    lagging = series("B04", start, start + 26 * HOUR, {1: 50.0})
    assert list(figures(entsoe(), came(ASK, market(whole, lagging)))) == [
        f"11-01T0{m // 60}:{m % 60:02}+15" for m in range(0, 120, 15)
    ]


def test_a_request_asks_in_utc_and_three_days_before() -> None:
    with misbehaving(Answer(body=FR)) as server:
        (payload,) = entsoe(base_url=f"{server.url}/api").fetch(ask(EIC, "11-01T00:30", "11-01T02:30"))
    (asked,) = server.asked
    assert (asked.path, asked.parameters) == (
        "/api",
        {
            "documentType": "A75", "processType": "A16", "in_Domain": EIC, "periodStart": "202610290000",
            "periodEnd": "202611010300", "securityToken": SECRET,
        },
    )  # fmt: skip
    assert payload.ask == ask(EIC, "11-01T00:00", "11-01T03:00")


@pytest.mark.parametrize("status", [200, 400, 404])
def test_nothing_there_is_no_failure_of_the_months_beside_it(status: int) -> None:
    nothing, fine = Answer(status, NO_DATA), Answer(body=FR)
    asked = ask(EIC, "08-03T00:00", "11-01T00:00")
    with misbehaving(nothing, fine, nothing) as server:
        payloads = list(entsoe(base_url=server.url).fetch(asked))
        assert [payload.ask for payload in payloads] == [ask(EIC, "09-02T00:00", "10-02T00:00")]
        with pytest.raises(NothingThere, match=rf"{status}: No matching data found .* and interval 2026-11-01"):
            list(entsoe(base_url=server.url).fetch(asked))


@pytest.mark.parametrize("status", [200, 400])
def test_another_reason_of_the_same_code_is_a_refusal(status: int) -> None:
    with misbehaving(Answer(status, TOO_MUCH)) as server, pytest.raises(SourceError) as caught:
        list(entsoe(base_url=server.url).fetch(ASK))
    assert type(caught.value) is SourceRejected
    assert "exceeds the allowed maximum" in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_not_accepted_is_told(status: int) -> None:
    refused = Answer(status, recorded("entsoe/unauthorized.xml"))
    with (
        misbehaving(refused) as server,
        pytest.raises(SourceRejected, match=r"invalid security token: .* no API access"),
    ):
        list(entsoe(base_url=server.url).fetch(ASK))


def test_without_a_token_nothing_is_asked() -> None:
    with misbehaving(Answer(body=FR)) as server:
        with pytest.raises(ConfigError, match="token_env or token_file"):
            list(entsoe(base_url=server.url, token_env=None).fetch(ASK))
        assert server.asked == []


START, END = utc("11-01T00:00"), utc("11-01T01:00")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html><br></html>", "no XML"),
        (b"", "no XML"),
        (FR[:900], "no XML"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "no XML"),
        (NO_DATA, "a Acknowledgement_MarketDocument where"),
        (market(series("B04", START, END, {1: 1.0}, zone="10YBE----------2")), "'10YBE----------2', though '10YFR"),
        (market(series("B04", START, END, {1: 1.0}, unit="KWT")), "'B04' in 'KWT' where it documents MW"),
        (market(series("", START, END, {1: 1.0})), "type ''"),
        (market(series("B04", START, END, {1: 1.0}, resolution="P1D")), "steps of 'P1D'"),
        (market(series("B04", START + timedelta(minutes=5), END, {1: 1.0})), "steps of 'PT15M' from 2026-11-01T00:05Z"),
        (market(series("B04", START, END, {5: 1.0})), "position 5 of 4"),
        (market(series("B04", START, END, {10**15: 1.0})), "position 1000000000000000 of 4"),
        (market(series("B04", START, END, {0: 1.0})), "point '0'"),
        (market(series("B04", START, END, {1: float("nan")})), "'nan'"),
        (market(series("B04", START, END, {1: float("inf")})), "'inf'"),
        (market(series("B04", START, END, {1: 1.0}).replace("T00:00Z", "T00:00")), "a time with a zone"),
    ],
)  # fmt: skip
def test_what_is_not_documented_is_refused_by_name(body: bytes, says: str) -> None:
    with pytest.raises(SourceMalformed, match=says):
        entsoe().parse(came(ASK, body))


def test_no_document_type_and_so_no_entity_is_let_in() -> None:
    lol = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{lol}]><GL_MarketDocument>&l9;</GL_MarketDocument>'
    leak = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><GL_MarketDocument>&f;</GL_MarketDocument>'
    for body in (bomb.encode(), leak.encode(), bomb.encode("utf-16")):
        with pytest.raises(SourceMalformed, match="document type"):
            entsoe().parse(came(ASK, body))


def test_a_document_of_great_depth_is_read_as_any_other() -> None:
    deep = market("<a>" * 100_000 + "</a>" * 100_000)
    assert figures(entsoe(), came(ASK, deep)) == {}


def test_a_block_of_a_thousand_years_is_laid_out_only_where_it_was_asked() -> None:
    long_block = series("B04", utc("11-01T00:00").replace(year=1026), utc("11-01T12:00").replace(year=3026), {1: 10.0})
    assert len(figures(entsoe(), came(ASK, market(long_block)))) == 96


@pytest.mark.parametrize("zone", areas())
def test_every_shipped_area_code_has_its_check_character(zone: str) -> None:
    """Of the EIC manual: weights 16 to 2, `-` counts 36, the remainder by 37."""
    values = [36 if c == "-" else int(c, 36) for c in areas()[zone]]
    assert len(values) == 16
    weighted = sum(value * weight for value, weight in zip(values[:15], range(16, 1, -1), strict=True))
    assert values[15] == 36 - (weighted - 1) % 37


def test_a_zone_of_electricity_maps_has_its_area_code() -> None:
    codes = {"DE-LU": "10Y1001A1001A82H", "FR": EIC, "NO-NO5": "10Y1001A1001A48H", "CH": "10YCH-SWISSGRIDZ"}
    assert {zone: entsoe().zone_of(zone) for zone in codes} == codes
    assert len(set(areas().values())) == len(areas())


def test_another_zone_must_be_told() -> None:
    with pytest.raises(ConfigError, match="did you mean SE-SE"):
        entsoe().zone_of("SE-SE9")
    with pytest.raises(ConfigError, match="to its EIC code"):
        entsoe().zone_of("US-CAL-CISO")
    assert entsoe(zone="10YCB-GERMANY--8").zone_of("SE-SE9") == "10YCB-GERMANY--8"


def test_a_check_tells_the_newest_step_and_its_types() -> None:
    start = utc("11-01T23:00")
    body = market(series("B14", start, start + 2 * HOUR, {1: 5.0}), series("B04", start, start + HOUR, {1: 5.0}))
    with misbehaving(Answer(body=body), Answer(body=market())) as server:
        asking = entsoe(base_url=server.url)
        assert list(asking.check("FR")) == [f"{EIC}: newest step 2026-11-02T00:45Z to 01:00Z, of B14"]
        with pytest.raises(NothingThere, match="no generation by type"):
            list(asking.check("FR"))


def test_every_fuel_has_a_factor() -> None:
    assert {(fuel, "direct") for fuel in FUELS.values() if fuel} <= set(factors())
