r"""Half a surrogate pair, which JSON lets stand alone (`\ud800`), is no text, and no vendor gets one past the door.

Columns, files and terminals take only what UTF-8 can say: its escape stands there.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from pipeline.errors import SourceMalformed
from pipeline.providers import WEB
from pipeline.settings.intensity import GaugeTable
from pipeline.sources.grid.contract import Ask, Payload, Provider
from pipeline.sources.grid.mix import RELEASE
from pipeline.sources.grid.prometheus import PrometheusGauge
from pipeline.sources.grid.web import NothingThere, document
from pipeline.sources.prometheus.servers import Servers
from tests.misbehaving import Answer, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.grid import electricity_maps, test_eia, test_neso, watttime
from tests.sources.grid.asking import HTTP, came, rows
from tests.sources.grid.test_prometheus import ask as asked_of_gauge
from tests.sources.grid.test_vendors import VENDORS
from tests.sources.prometheus.test_api_client import connect

NOWHERE = "http://127.0.0.1:9"
HALF, ESCAPE = "\ud800", r"\ud800"
GAUGE = {"resultType": "matrix", "result": [{"metric": {"location": "DE"}, "values": [[1_793_534_400.0, "300.0"]]}]}


def _gauge() -> Provider:
    server = connect(NOWHERE, StillClock())
    table = GaugeTable.model_validate({"query": "grid"})
    return PrometheusGauge(table, Servers([[server]], StillClock()), StillClock())


READERS: dict[str, tuple[Any, Ask, bytes]] = {
    **{name: (one.opened(NOWHERE, StillClock(), HTTP), one.asked, one.fine) for name, one in VENDORS.items()},
    "electricity_maps": (electricity_maps.READER, electricity_maps.DAY, electricity_maps.body("past_range_v4")),
    "watttime": (watttime.provider(), watttime.MIDNIGHT, watttime.body("historical_moer")),
    "neso": (test_neso.provider(), test_neso.LONDON, test_neso.body("region_13")),
    "prometheus": (_gauge(), asked_of_gauge(), json.dumps(GAUGE).encode()),
}  # fmt: skip


def test_no_provider_is_left_out() -> None:
    assert set(READERS) == {*WEB, "prometheus"}


@pytest.mark.parametrize("name", READERS)
def test_wherever_it_stands_in_an_answer_there_are_rows_or_one_plain_line(name: str) -> None:
    reader, asked, fine = READERS[name]
    assert reader.parse(came(asked, fine)).num_rows
    outcomes = {_outcome(reader.parse, came(asked, content)) for content in _spoilt(fine)}
    if hasattr(reader, "parse_forecast"):
        outcomes |= {_outcome(reader.parse_forecast, came(asked, content)) for content in _spoilt(fine)}
    assert "malformed" in outcomes
    assert "rows" in outcomes or fine.startswith(b"<"), "of XML none is well-formed"


def _outcome(parse: Callable[[Payload], pa.Table], payload: Payload) -> str:
    try:
        table = parse(payload)
    except SourceMalformed as error:
        assert len(str(error).encode().splitlines()) == 1  # noqa: PT017 # either outcome is right
        return "malformed"
    table.validate(full=True)
    return "rows" if table.num_rows else "none"


SPOILS: tuple[Callable[[Any], object], ...] = (
    lambda _: HALF,
    lambda value: f"{value}{HALF}",
    lambda value: {HALF: value},
    lambda value: value | {HALF: HALF} if isinstance(value, dict) else [HALF],
)


def _spoilt(fine: bytes) -> Iterator[bytes]:
    """The answer with half a surrogate in each of its places, of a list in the last: a value, a part of one, a key."""
    if fine.startswith(b"<"):
        for half in (b"&#xD800;", b"\xed\xa0\x80"):
            for text in set(re.findall(rb">([^<>\s]+)<", fine)):
                yield fine.replace(b">%b<" % text, b">%b<" % half)
        return
    answer = json.loads(fine)
    for path in dict.fromkeys(_paths(answer)):
        for spoil in SPOILS:
            spoilt = _at(answer, path, spoil)
            yield json.dumps(spoilt).encode()
            yield json.dumps(spoilt, ensure_ascii=False).encode(errors="surrogatepass")


def _paths(part: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 # any part of a JSON document
    """Keys that lead to each value; of a list all items are one."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _paths(value, (*path, key))
    elif isinstance(part, list):
        for item in part:
            yield from _paths(item, (*path, "*"))
    yield path


def _at(part: Any, path: tuple[str, ...], spoil: Callable[[Any], object]) -> Any:  # noqa: ANN401 # any part of a JSON document
    """The same with what stands at a path spoilt; in a list its last item."""
    if not path:
        return spoil(part)
    if isinstance(part, list):
        return [*part[:-1], _at(part[-1], path[1:], spoil)] if part else part
    return part | {path[0]: _at(part[path[0]], path[1:], spoil)} if path[0] in part else part


def test_a_fuel_of_a_mix_is_named_by_its_escape() -> None:
    (row,) = rows(test_eia.eia(), came(test_eia.ASK, test_eia.answer({}, {"fueltype": f"X{HALF}", "value": "10"})))
    assert row["model"] == f"computed from mix, factors {RELEASE}; X{ESCAPE} as unknown"
    assert row["carbon_intensity_g_per_kwh"] == pytest.approx((490 + 717) / 2)


def test_a_method_of_electricity_maps_and_a_model_of_watttime_are_kept_by_their_escapes() -> None:
    estimated = electricity_maps.row("2026-10-30T00:00Z", estimationMethod=f"TIME {HALF}\n SLICER")
    (row,) = electricity_maps.figures(electricity_maps.past(estimated), electricity_maps.DAY)
    assert row["model"] == f"TIME {ESCAPE} SLICER"
    point = watttime.point("2026-11-01T00:00:00Z")
    (row,) = watttime.figures(watttime.answered([point], model={"date": "2026-03-01", "type": f"moer{HALF}"}))
    assert row["model"] == f"2026-03-01 moer{ESCAPE}"


def test_a_warning_of_watttime_is_told_with_its_escape() -> None:
    content = watttime.answered([], warnings=[{"type": "X", "message": f"cut {HALF}"}])
    with misbehaving(watttime.LOGIN, Answer(body=content)) as server:
        provider = watttime.provider(server.url)
        list(provider.fetch(watttime.MIDNIGHT))
    assert provider.warnings == [f"watttime warns: X: cut {ESCAPE}"]


def test_a_zone_that_is_meant_perhaps_is_told_with_its_escape() -> None:
    zones = json.dumps({f"DE-NORTHWEST{HALF}": {"zoneName": "X"}}).encode()
    asked = replace(electricity_maps.DAY, zone="DE-NORTHWEST")
    with misbehaving(Answer(body=zones)) as server:
        provider = electricity_maps.provider(f"{server.url}/v4")
        with pytest.raises(NothingThere) as caught:
            list(provider.fetch(asked))
    assert f"did you mean DE-NORTHWEST{ESCAPE}?" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        (rb'{"\ud800":["\udfff",{"a":"x\ud83d"}]}', {ESCAPE: [r"\udfff", {"a": r"x\ud83d"}]}),
        (rb'{"b":"\ud83d\ude00 \u00e9"}', {"b": "\N{GRINNING FACE} é"}),
        (b'["\xed\xa0\x80", "\xc3\xa9"]', [ESCAPE, "é"]),
        ('["\ud800"]'.encode("utf-16-le", "surrogatepass"), [ESCAPE]),
        (b'{"a":[1,2.5,true,null,"\\\\ud800"]}', {"a": [1, 2.5, True, None, ESCAPE]}),
    ],
)  # fmt: skip
def test_pairs_and_all_other_text_of_an_answer_stay_as_they_are(body: bytes, meant: object) -> None:
    assert document("vendor", body) == meant
