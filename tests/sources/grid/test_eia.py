"""EIA-930: hours named by their end, fuels priced by hand, whole hours only, and a key that nobody sees."""

import json
from datetime import timedelta

import pytest

from pipeline.errors import ConfigError, SourceError, SourceMalformed, SourceRejected
from pipeline.settings.intensity import EiaTable
from pipeline.sources.grid.eia import FUELS, LONGEST, PAGE_ROWS, Eia
from pipeline.sources.grid.mix import LEAD, RELEASE, factors
from pipeline.sources.grid.web import NothingThere, NotInPlan
from tests.misbehaving import Answer, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.grid.asking import ENV, HTTP, SECRET, ask, came, figures, recorded, rows

ASK = ask("CISO", "11-01T00:00", "11-02T00:00", "lifecycle")
CISO = recorded("eia/ciso.json")
EMPTY = b'{"response":{"total":"0","data":[]}}'


def eia(**table: str | None) -> Eia:
    return Eia(EiaTable.model_validate({"token_env": "KEY"} | table), HTTP, ENV, StillClock())


def answer(*data: dict[str, object], **response: object) -> bytes:
    row = {"period": "2026-11-01T01", "respondent": "CISO", "fueltype": "NG", "value": "10"}
    every = [row | {"value-units": "megawatthours"} | changed for changed in data]
    return json.dumps({"response": {"total": str(len(every)), "data": every} | response}).encode()


def test_an_hour_is_named_by_its_end_and_priced_by_hand() -> None:
    # 00:00: (5000 x 490 + 2000 x 12 + 1000 x 24 + 2000 x 11) / 10000, charging left out
    # 01:00: (4000 x 490 + 2000 x 12 + 1000 x 717 + 1000 x 24 + 2000 x 11) / 10000, discharge and -10 left out
    # 02:00: gas withdrawn; 03:00: no row; 04:00: (6000 x 490 + 1000 x 38 + 3000 x 48) / 10000; 05:00: a battery alone
    assert figures(eia(), came(ASK, CISO)) == {
        "11-01T00:00": pytest.approx(252.0), "11-01T01:00": pytest.approx(274.7), "11-01T02:00": None,
        "11-01T04:00": pytest.approx(312.2),
    }  # fmt: skip


def test_direct_counts_what_is_burnt() -> None:
    direct = figures(eia(), came(ask("CISO", "11-01T00:00", "11-02T00:00"), CISO))
    # 5000 x 370 / 10000; (4000 x 370 + 1000 x 621) / 10000
    assert (direct["11-01T00:00"], direct["11-01T01:00"]) == (pytest.approx(185.0), pytest.approx(210.1))


def test_every_column_of_a_row_is_filled() -> None:
    payload = came(ASK, CISO)
    row = rows(eia(), payload)[1]
    del row["carbon_intensity_g_per_kwh"], row["start_utc"], row["end_utc"]
    assert row == {
        "zone": "CISO", "provider": "eia", "signal": "average", "factor_type": "lifecycle", "basis": "production",
        "quality": "estimated", "updated_utc": None, "fetched_utc": payload.fetched_utc,
        "model": f"computed from mix, factors {RELEASE}; OTH as unknown", "payload_id": payload.payload_id,
    }  # fmt: skip


@pytest.mark.parametrize("storage", ["PS", "BAT", "OES", "UES"])
@pytest.mark.parametrize("energy", ["-900", "900"])
def test_what_storage_takes_and_gives_is_no_generation(storage: str, energy: str) -> None:
    body = answer({"value": "10"}, {"fueltype": storage, "value": energy})
    assert figures(eia(), came(ASK, body)) == {"11-01T00:00": 490.0}


def test_an_hour_that_lacks_the_gas_of_the_day_before_waits_for_it() -> None:
    next_day = ask("CISO", "11-02T00:00", "11-02T01:00", "lifecycle")
    assert figures(eia(), came(next_day, CISO)) == {}
    later = json.loads(CISO)
    gas = {"period": "2026-11-02T01", "respondent": "CISO", "fueltype": "NG", "value": "5900"}
    hydro = {"period": "2026-11-02T01", "respondent": "CISO", "fueltype": "WAT", "value": "0"}
    later["response"]["data"] += [gas, hydro]
    later["response"]["total"] = "24"
    # (2000 x 12 + 2100 x 11 + 5900 x 490) / 10000
    assert figures(eia(), came(next_day, json.dumps(later).encode())) == {"11-02T00:00": pytest.approx(293.81)}


def test_a_request_asks_hours_by_their_ends_and_three_days_before() -> None:
    with misbehaving(Answer(body=EMPTY)) as server:
        (payload,) = eia(base_url=server.url).fetch(ask("CISO", "11-01T00:30", "11-01T02:30"))
    (asked,) = server.asked
    assert asked.path == "/electricity/rto/fuel-type-data/data/"
    assert asked.parameters == {
        "api_key": SECRET, "frequency": "hourly", "data[0]": "value", "facets[respondent][]": "CISO",
        "start": "2026-10-29T01", "end": "2026-11-01T03", "offset": "0", "length": "5000",
        "sort[0][column]": "period", "sort[0][direction]": "asc",
        "sort[1][column]": "fueltype", "sort[1][direction]": "asc",
    }  # fmt: skip
    assert payload.ask == ask("CISO", "11-01T00:00", "11-01T03:00")


def test_no_answer_can_be_cut_within_an_hour() -> None:
    assert (LONGEST + LEAD) // timedelta(hours=1) * 16 <= PAGE_ROWS
    with misbehaving(Answer(body=EMPTY)) as server:
        payloads = list(eia(base_url=server.url).fetch(ask("CISO", "10-01T00:00", "10-25T00:00")))
    spans = [(p.ask.start.day, p.ask.end.day) for p in payloads]
    assert spans == [(1, 11), (11, 21), (21, 25)]


def test_a_cut_answer_is_no_answer() -> None:
    with pytest.raises(SourceMalformed, match="1 of 5001 rows"):
        eia().parse(came(ASK, answer({}, total="5001")))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "no JSON"),
        (b"[]", "response.data"),
        (b'{"response":{"data":[1]}}', "response.data"),
        (answer({"respondent": "PJM"}), "respondent 'PJM', though 'CISO' was asked"),
        (answer({"value-units": "megawatts"}), "value-units 'megawatts', though 'megawatthours' was asked"),
        (answer({"period": "2026-11-01"}), "'2026-11-01' where it documents YYYY-MM-DDTHH"),
        (answer({"value": "much"}), "value 'much'"),
        (answer({"value": True}), "value True"),
        (answer({"value": "NaN"}), "value 'NaN'"),
        (answer({"value": "Infinity"}), "value 'Infinity'"),
    ],
)
def test_what_is_not_documented_is_refused_by_name(body: bytes, says: str) -> None:
    with pytest.raises(SourceMalformed, match=says):
        eia().parse(came(ASK, body))


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("API_KEY_INVALID", SourceRejected, "is not accepted"),
        ("API_KEY_MISSING", SourceRejected, "is not accepted"),
        ("API_KEY_UNAUTHORIZED", NotInPlan, "the key is good"),
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_a_bad_key_and_a_key_without_access_are_told_apart(
    status: int, code: str, kind: type[SourceError], says: str
) -> None:
    body = json.dumps({"error": {"code": code, "message": f"An API key of {SECRET}"}}).encode()
    with misbehaving(Answer(status, body)) as server, pytest.raises(SourceError) as caught:
        list(eia(base_url=server.url).fetch(ASK))
    assert type(caught.value) is kind
    assert says in str(caught.value)
    assert code in str(caught.value)
    assert SECRET not in str(caught.value)


def test_without_a_key_nothing_is_asked() -> None:
    with misbehaving(Answer(body=EMPTY)) as server:
        with pytest.raises(ConfigError, match="token_env or token_file"):
            list(eia(base_url=server.url, token_env=None).fetch(ASK))
        assert server.asked == []


@pytest.mark.parametrize(
    ("zone", "authority"), [("US-CAL-CISO", "CISO"), ("US-MIDA-PJM", "PJM"), ("US-NW-BPAT", "BPAT")]
)
def test_a_zone_of_electricity_maps_ends_with_its_authority(zone: str, authority: str) -> None:
    assert eia().zone_of(zone) == authority
    assert eia(zone="MISO").zone_of(zone) == "MISO"


@pytest.mark.parametrize("zone", ["US", "US-CA", "DE", "us-cal-ciso"])
def test_another_zone_must_be_told(zone: str) -> None:
    with pytest.raises(ConfigError, match="set zone in"):
        eia().zone_of(zone)
    assert eia(zone="CISO").zone_of(zone) == "CISO"


def test_a_check_tells_the_newest_hour_and_its_fuels() -> None:
    with misbehaving(Answer(body=CISO), Answer(body=EMPTY)) as server:
        asking = eia(base_url=server.url)
        assert list(asking.check("US-CAL-CISO")) == ["CISO: newest hour ends 2026-11-02T01:00Z, of NUC, WND"]
        with pytest.raises(NothingThere, match="no generation of 'CISO'"):
            list(asking.check("US-CAL-CISO"))


def test_every_fuel_has_a_factor() -> None:
    assert {(fuel, "direct") for fuel in FUELS.values() if fuel} <= set(factors())
