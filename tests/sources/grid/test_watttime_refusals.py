"""WattTime: logins that end, limits, faults and warnings; neither a token nor a password gets out."""

import pytest

from pipeline.errors import SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.sources.grid.web import NotInPlan
from tests.misbehaving import Answer, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.grid.watttime import (
    AOER,
    ITALY,
    LOGIN,
    MIDNIGHT,
    MOER,
    PAIR,
    PASSWORD,
    TOKEN,
    USER,
    answer,
    answered,
    ask,
    body,
    fetched,
    point,
    provider,
    told,
)

SECRETS = (USER, PASSWORD, PAIR, TOKEN)
ENDED, REFUSED = answer("token_401", 401), Answer(401, b"<html>no</html>")


def test_a_token_is_renewed_after_25_minutes_and_not_before() -> None:
    clock = StillClock()
    with misbehaving(LOGIN, MOER, MOER, Answer(body=b'{"token":"t0k3n-tw0"}'), MOER) as server:
        watttime = provider(server.url, clock)
        list(watttime.fetch(MIDNIGHT))
        clock.seconds = 24 * 60
        list(watttime.fetch(MIDNIGHT))
        clock.seconds = 26 * 60
        list(watttime.fetch(MIDNIGHT))
    assert [asked.path.rsplit("/", 1)[-1] for asked in server.asked] == [
        "login", "historical", "historical", "login", "historical",
    ]  # fmt: skip
    assert server.asked[-1].authorization == "Bearer t0k3n-tw0"


def test_a_token_that_ends_early_is_renewed_once() -> None:
    with misbehaving(LOGIN, ENDED, Answer(body=b'{"token":"t0k3n-tw0"}'), MOER) as server:
        (payload,) = fetched(server)
    assert payload.body == body("historical_moer")
    assert server.asked[-1].authorization == "Bearer t0k3n-tw0"


def test_a_token_that_is_refused_again_is_told_as_that() -> None:
    with misbehaving(LOGIN, ENDED, LOGIN, ENDED) as server, pytest.raises(SourceRejected) as caught:
        fetched(server)
    assert len(server.asked) == 4
    assert "refuses the token that its own login gave (401)" in str(caught.value)
    assert "Token has expired" in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_a_bad_login_is_told_as_that_and_not_tried_twice(status: int) -> None:
    clock = StillClock()
    with misbehaving(Answer(status, PASSWORD.encode())) as server, pytest.raises(SourceRejected) as caught:
        fetched(server, clock=clock)
    assert str(caught.value) == (
        f"watttime refuses the login ({status}): check user and password named in [intensity.watttime]"
    )
    assert (len(server.asked), clock.seconds) == (1, 0.0)


@pytest.mark.parametrize(
    "content", [b"", TOKEN.encode(), f'{{"token":"{TOKEN}'.encode(), b"[]", b'{"token":7}', b'{"token":""}',
                '{"token":"ü"}'.encode(), b'{"token":"a\\nb"}'],
)  # fmt: skip
def test_a_login_without_a_token_is_malformed_and_shows_nothing_of_its_answer(content: bytes) -> None:
    with misbehaving(Answer(body=content)) as server, pytest.raises(SourceMalformed) as caught:
        fetched(server)
    assert str(caught.value) == "watttime answers the login without a token"
    assert TOKEN not in told(caught.value)


def test_a_region_outside_the_plan_is_told_apart_from_a_bad_login() -> None:
    with misbehaving(LOGIN, answer("plan_403", 403)) as server, pytest.raises(NotInPlan) as caught:
        fetched(server, ITALY)
    assert "the login is good, but its plan has no co2_aoer of IT (403): " in str(caught.value)
    assert "free access to CAISO_NORTH" in str(caught.value)


@pytest.mark.parametrize(("retry_after", "waited"), [("7", 7.0), ("Mon, 02 Nov 2026 03:00:20 GMT", 20.0)])
def test_a_limit_of_rate_is_waited_out_as_told(retry_after: str, waited: float) -> None:
    clock = StillClock()
    slow_down = Answer(429, b"too many", {"Retry-After": retry_after})
    with misbehaving(LOGIN, slow_down, MOER) as server:
        assert len(fetched(server, clock=clock)) == 1
    assert clock.seconds == pytest.approx(waited, abs=0.2)


def test_an_error_of_the_server_is_tried_again_and_its_login_too() -> None:
    with misbehaving(Answer(500, b"oops"), LOGIN, Answer(500, b"oops"), MOER) as server:
        (payload,) = fetched(server)
    assert payload.body == body("historical_moer")


@pytest.mark.parametrize(
    "bad", [Answer(503, b"down"), Answer(body=b'{"data":', cut_bytes=9), Answer(body=b'{"data":[]}', drip_seconds=0.5)]
)
def test_what_stays_unavailable_ends_within_the_budget(bad: Answer) -> None:
    with misbehaving(LOGIN, bad) as server, pytest.raises(SourceUnavailable):
        list(provider(server.url, retry_seconds=0).fetch(MIDNIGHT))


def test_a_parameter_that_is_refused_is_told_in_watttimes_words() -> None:
    with (
        misbehaving(LOGIN, Answer(400, b'{"error":"region: nowhere is not valid"}')) as server,
        pytest.raises(SourceRejected, match=r"400: .*nowhere is not valid"),
    ):
        fetched(server)


def test_questions_are_a_tenth_of_a_second_apart() -> None:
    clock = StillClock()
    with misbehaving(LOGIN, MOER) as server:
        fetched(server, ask("2026-01-01T00:00", "2026-05-01T00:00"), clock)
    assert len(server.asked) == 5
    assert clock.seconds == pytest.approx(0.3)


def test_warnings_beside_the_data_reach_the_caller_once() -> None:
    with misbehaving(LOGIN, AOER) as server:
        watttime = provider(server.url)
        list(watttime.fetch(ITALY))
        list(watttime.fetch(ITALY))
    assert watttime.warnings == [
        "watttime warns: EXAMPLE_WARNING: Data is truncated: the end of the range is not there yet"
    ]


@pytest.mark.parametrize("warnings", [None, 7, ["x"], [{}], [{"type": "a"}]])
def test_warnings_in_another_form_do_not_hide_the_data(warnings: object) -> None:
    content = answered([point("2026-11-01T00:00:00Z")], warnings=warnings)
    with misbehaving(LOGIN, Answer(body=content)) as server:
        watttime = provider(server.url)
        (payload,) = watttime.fetch(MIDNIGHT)
        assert watttime.parse(payload).num_rows == 1
    assert watttime.warnings == []


def test_no_secret_is_in_any_message_payload_address_or_representation() -> None:
    seen: list[str] = []
    at_login = [Answer(status, " ".join(SECRETS[:3]).encode()) for status in (200, 401, 500)]
    later = [Answer(status, TOKEN.encode()) for status in (200, 400, 401, 403, 404, 500)]
    for answers in [(first,) for first in at_login] + [(LOGIN, second) for second in later]:
        with misbehaving(*answers) as server:
            watttime = provider(server.url, retry_seconds=0)
            try:
                (payload,) = watttime.fetch(MIDNIGHT)
                seen += [payload.body.decode(), payload.url, repr(payload)]
                watttime.parse(payload)
            except SourceError as error:
                seen.append(told(error))
            seen += [repr(watttime), str(watttime.warnings)]
    assert len(seen) == 9 * 3 + 3, "each ended in an error, one of them in a payload before"
    assert not {text for text in seen for secret in SECRETS if secret in text}
