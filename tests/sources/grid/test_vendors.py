"""A grid's own vendor may fail in every way: it is asked again or told clearly, and no key gets out."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from pipeline.errors import SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import EiaTable, EnerginetTable, EntsoeTable, RteTable
from pipeline.sources.grid.contract import Ask, Provider
from pipeline.sources.grid.eia import Eia
from pipeline.sources.grid.energinet import Energinet
from pipeline.sources.grid.entsoe import Entsoe
from pipeline.sources.grid.rte import Rte
from pipeline.sources.grid.web import NothingThere
from pipeline.window import HOUR
from tests.misbehaving import Answer, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.grid.asking import ENV, HTTP, SECRET, ask, came, figures, recorded


@dataclass(frozen=True)
class Vendor:
    """How a provider is opened at an address, what it is asked, what it then answers, whether with a key."""

    opened: Callable[[str, StillClock, HttpSettings], Provider]
    asked: Ask
    fine: bytes
    keyed: bool


KEYED = {"token_env": "KEY"}
VENDORS = {
    "rte": Vendor(
        lambda url, clock, http: Rte(RteTable(base_url=url), http, {}, clock),
        ask("FR", "10-24T22:00", "10-25T02:00"), recorded("rte/cons_def.json"), keyed=False,
    ),
    "energinet": Vendor(
        lambda url, clock, http: Energinet(EnerginetTable(base_url=url), http, {}, clock),
        ask("DK1", "10-25T01:00", "10-25T02:00"), recorded("energinet/co2emis.json"), keyed=False,
    ),
    "eia": Vendor(
        lambda url, clock, http: Eia(EiaTable.model_validate({"base_url": url} | KEYED), http, ENV, clock),
        ask("CISO", "11-01T00:00", "11-01T06:00"), recorded("eia/ciso.json"), keyed=True,
    ),
    "entsoe": Vendor(
        lambda url, clock, http: Entsoe(EntsoeTable.model_validate({"base_url": url} | KEYED), http, ENV, clock),
        ask("10YFR-RTE------C", "11-01T00:00", "11-01T03:00"), recorded("entsoe/fr.xml"), keyed=True,
    ),
}  # fmt: skip
every_vendor = pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS)
keyed_vendor = pytest.mark.parametrize("vendor", [v for v in VENDORS.values() if v.keyed], ids=["eia", "entsoe"])


def answered(
    vendor: Vendor, *answers: Answer, clock: StillClock | None = None, **http: float
) -> dict[str, float | None]:
    limits = HTTP.model_copy(update=http)
    with misbehaving(*answers) as server:
        provider = vendor.opened(server.url, clock or StillClock(), limits)
        return {start: value for p in provider.fetch(vendor.asked) for start, value in figures(provider, p).items()}


@every_vendor
@pytest.mark.parametrize(
    ("failing", "seconds"),
    [
        (Answer(429, b"slow down", {"Retry-After": "7"}), 7),
        (Answer(429, b"slow down", {"Retry-After": "Mon, 02 Nov 2026 03:00:09 GMT"}), 9),
        (Answer(429, b"slow down"), 1),
        (Answer(500, b"<html>broken"), 1),
        (Answer(200, b"{", cut_bytes=9), 1),
    ],
    ids=["429-seconds", "429-date", "429", "500", "truncated"],
)
def test_what_passes_is_asked_again_after_the_time_it_says(vendor: Vendor, failing: Answer, seconds: int) -> None:
    fine, clock, without = Answer(body=vendor.fine), StillClock(), StillClock()
    expected = answered(vendor, fine, clock=without)
    assert answered(vendor, failing, fine, clock=clock) == expected
    assert len([value for value in expected.values() if value is not None]) >= 3
    assert clock.seconds == seconds + without.seconds


@every_vendor
def test_a_vendor_that_stays_slow_or_silent_is_unavailable(vendor: Vendor) -> None:
    for answer in (Answer(body=vendor.fine, drip_seconds=0.2), Answer(503, b"closed")):
        with pytest.raises(SourceUnavailable):
            answered(vendor, answer, timeout_seconds=0.3, retry_seconds=0.0)


@every_vendor
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_not_asked_again(vendor: Vendor, status: int) -> None:
    clock = StillClock()
    with pytest.raises(SourceRejected, match=rf"answers {status}.*\[intensity\."):
        answered(vendor, Answer(status, b"no"), Answer(body=vendor.fine), clock=clock)
    assert clock.seconds == 0.0


@every_vendor
def test_an_address_that_is_another_says_so(vendor: Vendor) -> None:
    with pytest.raises(NothingThere, match="check zone and base_url"):
        answered(vendor, Answer(404, b"not here"))


@every_vendor
def test_an_answer_of_another_zone_names_both(vendor: Vendor) -> None:
    others = {b"CISO": b"PJM", b'"DK1"': b'"DK2"', b"10YFR-RTE------C": b"10YBE----------2", b'"France"': b'"Corse"'}
    body = vendor.fine
    for ours, theirs in others.items():
        body = body.replace(ours, theirs)
    with pytest.raises(SourceMalformed, match=r"'(PJM|DK2|10YBE----------2|Corse)', though '(CISO|DK1|10YFR|France)"):
        answered(vendor, Answer(body=body))


@every_vendor
def test_an_hour_asked_alone_has_the_figures_it_has_in_a_month(vendor: Vendor) -> None:
    provider = vendor.opened("http://127.0.0.1:9", StillClock(), HTTP)
    with misbehaving(Answer(body=vendor.fine)) as server:
        (payload,) = vendor.opened(server.url, StillClock(), HTTP).fetch(vendor.asked)
    whole = figures(provider, payload)
    alone: dict[str, float | None] = {}
    for hour in vendor.asked.chunks(HOUR):
        alone |= figures(provider, came(hour, payload.body, payload.url, payload.fetched_utc))
    assert alone == whole


@keyed_vendor
def test_a_key_is_sent_and_found_nowhere_else(vendor: Vendor) -> None:
    echo = vendor.fine.replace(b"<mRID>1<", f"<mRID>{SECRET}<".encode()).replace(b'"hourly"', f'"{SECRET}"'.encode())
    assert SECRET.encode() in echo
    with misbehaving(Answer(body=echo)) as server:
        provider = vendor.opened(server.url, StillClock(), HTTP)
        (payload,) = provider.fetch(vendor.asked)
        assert SECRET in server.asked[0].parameters.values()
    told = [payload.url, payload.body.decode(), repr(payload), repr(provider), str(vars(provider).get("_table"))]
    for answer in (Answer(401, SECRET.encode()), Answer(500, SECRET.encode()), Answer(400, SECRET.encode())):
        with pytest.raises(SourceError) as caught:
            answered(vendor, answer, retry_seconds=0.0)
        told += [str(caught.value), "".join(traceback.format_exception(caught.value))]
    for text in told:
        assert SECRET not in text
        assert "s3cr3t" not in text
