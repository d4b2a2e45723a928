"""What Electricity Maps refuses is told as what it is, faults that pass are waited out, and no token gets out."""

import json
import traceback
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, SourceError, SourceRejected, SourceUnavailable
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import ElectricityMapsTable
from pipeline.sources.grid.electricity_maps import ElectricityMaps
from pipeline.sources.grid.web import NothingThere, NotInPlan
from tests.misbehaving import Answer, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.grid.electricity_maps import DAY, ENV, FINE_PAST, SECRET, answer, ask, body, fetched, provider, utc


@pytest.mark.parametrize(
    ("refused", "kind", "says"),
    [
        (answer("token_401", 401), SourceRejected, "the token of [intensity.electricity_maps] is not accepted"),
        (Answer(401), SourceRejected, "no reason given: the token of [intensity.electricity_maps] is not accepted"),
        (answer("plan_401", 401), NotInPlan, "the token's plan has not this zone or this endpoint"),
        (Answer(401, b"Token unauthorized for zoneKey=DE"), NotInPlan, "plan has not this zone"),
        (Answer(401, b'{"error":"Endpoint not available"}'), NotInPlan, "plan has not this zone"),
        (Answer(403, b"no"), NotInPlan, "electricity_maps answers 403: no: the token's plan"),
        (Answer(404, b'{"error":"No recent data"}'), NothingThere, "No recent data"),
        (Answer(400, b'{"error":"Missing or invalid date parameter"}'), SourceRejected, "Missing or invalid date"),
        (Answer(429, b"slow", {"Retry-After": "3600"}), SourceUnavailable, "answers 429: slow"),
    ],
)
def test_each_refusal_is_its_own_error(refused: Answer, kind: type[SourceError], says: str, clock: StillClock) -> None:
    with misbehaving(answer("zones_v4"), refused) as server, pytest.raises(SourceError) as caught:
        fetched(server, DAY, clock)
    assert type(caught.value) is kind
    assert says in str(caught.value)
    assert len(server.asked) == 2


def test_a_bad_token_is_told_before_anything_else_is_asked(clock: StillClock) -> None:
    with misbehaving(answer("token_401", 401)) as server, pytest.raises(SourceRejected, match="is not accepted"):
        fetched(server, DAY, clock)
    assert len(server.asked) == 1


def test_what_came_before_a_fault_stands(clock: StillClock) -> None:
    month = ask("2026-09-01T00:00", "2026-10-01T00:00")
    with misbehaving(answer("zones_v4"), FINE_PAST, answer("plan_401", 401)) as server:
        asking = provider(f"{server.url}/v4", clock).fetch(month)
        assert next(asking).ask.end == utc("2026-09-11T00:00")
        with pytest.raises(NotInPlan):
            next(asking)


@pytest.mark.parametrize(
    ("failing", "seconds"),
    [
        (Answer(429, b"", {"Retry-After": "9"}), 9),
        (Answer(429, b"", {"Retry-After": "Mon, 02 Nov 2026 03:00:30 GMT"}), 30),
        (Answer(500), 1),
        (Answer(200, b'{"zone":"D', cut_bytes=100), 1),
    ],
    ids=["seconds", "date", "500", "truncated"],
)
def test_what_passes_is_asked_again_when_the_vendor_says(failing: Answer, seconds: float, clock: StillClock) -> None:
    with misbehaving(answer("zones_v4"), failing, answer("past_range_v4")) as server:
        (only,) = fetched(server, DAY, clock)
    assert only.body == body("past_range_v4")
    assert clock.seconds == 0.5 + seconds


def test_a_slow_answer_is_unavailable(clock: StillClock) -> None:
    with misbehaving(answer("zones_v4"), Answer(body=b"x" * 100, drip_seconds=0.2)) as server:
        table = ElectricityMapsTable(base_url=f"{server.url}/v4", token_env="EM_TOKEN")  # noqa: S106 # a variable's name
        slow = ElectricityMaps(table, HttpSettings(timeout_seconds=0.5, retry_seconds=0), ENV, clock)
        with pytest.raises(SourceUnavailable, match=r"did not answer within 0\.5 s"):
            list(slow.fetch(DAY))


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500])
def test_the_token_is_nowhere_to_be_seen(status: int, clock: StillClock) -> None:
    echo = Answer(status, json.dumps({"zone": "DE", "data": [], "token": SECRET}).encode())
    with misbehaving(answer("zones_v4"), echo) as server:
        asking = provider(f"{server.url}/v4", clock)
        try:
            (only,) = asking.fetch(DAY)
            shown = f"{only!r} {only.body!r} {only.url}"
            assert status == 200
        except SourceError as error:
            shown = "".join(traceback.format_exception(error))
    assert server.asked[1].headers["auth-token"] == SECRET
    assert SECRET not in shown + repr(asking) + repr(vars(asking)["_table"])
    assert all(SECRET not in str(asked.parameters) + asked.path for asked in server.asked)


def test_a_table_without_a_token_says_what_it_needs(clock: StillClock) -> None:
    with misbehaving(answer("zones_v4")) as server:
        with pytest.raises(ConfigError, match=r"\[intensity\.electricity_maps\] needs token_env or token_file"):
            fetched(server, DAY, clock, token_env=None)
        with pytest.raises(ConfigError, match="the environment has no OTHER"):
            fetched(server, DAY, clock, token_env="OTHER")  # noqa: S106 # a variable's name
        assert server.asked == []


def test_a_token_is_read_anew_at_each_call(clock: StillClock, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    with misbehaving(answer("zones_v4"), FINE_PAST) as server:
        asking = provider(f"{server.url}/v4", clock, token_env=None, token_file=file)
        list(asking.fetch(DAY))
        file.write_text("second\n")
        list(asking.fetch(DAY))
    assert [asked.headers["auth-token"] for asked in server.asked] == ["first", "first", "second"]
