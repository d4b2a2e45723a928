"""What each refusal of a Grafana becomes, and how its address, its token and its data source are found."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.handover.grafana import Conflict, Grafana
from pipeline.handover.push import find_data_source
from pipeline.settings import HttpSettings
from pipeline.settings.servers import SecuredServer
from tests.certificates import Authority
from tests.clocks import FixedClock
from tests.gatekeeper import Gate
from tests.handover.grafana import DB, FOLDERS, TOKEN, UIDS, FakeGrafana, open_grafana, pushed, said, source
from tests.misbehaving import Answer


@pytest.mark.parametrize("status", ["version-mismatch", "name-exists", "plugin-dashboard"])
def test_a_precondition_that_fails_is_told_with_grafanas_word_and_not_repeated(
    fake: FakeGrafana, gate: Gate, status: str
) -> None:
    fake.faults["POST", DB] = [said({"message": "changed by someone else", "status": status}, 412)]
    with pytest.raises(
        Conflict, match=rf"/api/dashboards/db answers 412: changed by someone else \({status}\)"
    ) as found:
        pushed(gate, retry_seconds=30)
    assert (found.value.status, found.value.exit_code) == (status, 2)
    assert sum(knock.target == DB for knock in gate.knocks) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (said({"message": "Invalid API key"}, 401), "answers 401: Invalid API key: check the token"),
        (said({"message": "Permissions needed: dashboards:read"}, 403), "lacks a permission"),
        (said({"message": "bad"}, 400), "answers 400: bad"),
        (Answer(302, b"", {"Location": "/login"}), "redirects are not followed, give the final address as --url"),
    ],
)
def test_a_refusal_is_one_line_with_what_to_do(fake: FakeGrafana, gate: Gate, answer: Answer, says: str) -> None:
    fake.faults["GET", f"/api/dashboards/uid/{UIDS[0]}"] = [answer]
    with pytest.raises(SourceRejected, match=says) as found:
        pushed(gate, retry_seconds=30)
    assert found.value.exit_code == 2
    assert fake.written == []


def test_the_token_follows_no_redirect(fake: FakeGrafana, gate: Gate) -> None:
    elsewhere = FakeGrafana().gate()
    with elsewhere.open():
        fake.faults["GET", FOLDERS] = [Answer(307, b"", {"Location": f"{elsewhere.url}/api/folders"})]
        with pytest.raises(SourceRejected, match="answers 307"):
            pushed(gate)
    assert elsewhere.knocks == []


def test_a_server_that_repeats_the_token_does_not_bring_it_into_a_message(fake: FakeGrafana, gate: Gate) -> None:
    fake.faults["GET", FOLDERS] = [said({"message": f"no: {TOKEN}"}, 403)]
    with pytest.raises(SourceRejected) as found:
        pushed(gate)
    assert "no: ***" in str(found.value)
    assert TOKEN not in str(found.value)


def test_a_passing_failure_is_asked_again_and_a_lasting_one_is_try_later(fake: FakeGrafana, gate: Gate) -> None:
    busy = said({"message": "busy"}, 503)
    fake.faults["POST", DB] = [busy]
    assert [one.action for one in pushed(gate, retry_seconds=10)] == ["created", "created"]
    fake.faults["GET", FOLDERS] = [busy, busy]
    with pytest.raises(SourceUnavailable, match="answers 503: busy") as found:
        pushed(gate)
    assert found.value.exit_code == 75


def test_a_pause_that_grafana_asks_for_beyond_the_budget_is_try_later_at_once(fake: FakeGrafana, gate: Gate) -> None:
    fake.faults["GET", FOLDERS] = [said({"message": "slow down"}, 429, Retry_After="600")]
    with pytest.raises(SourceUnavailable, match="answers 429: slow down"):
        pushed(gate, retry_seconds=30)


def test_a_grafana_that_is_not_there_is_try_later() -> None:
    with pytest.raises(SourceUnavailable, match=r"cannot reach http://127.0.0.1:9/api/folders: connection refused"):
        open_grafana("http://127.0.0.1:9").get(FOLDERS)


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b'{"data": 1}', b"[1]", b"null"])
def test_another_server_is_not_taken_for_a_grafana(fake: FakeGrafana, gate: Gate, body: bytes) -> None:
    fake.faults["GET", FOLDERS] = [Answer(200, body)]
    with pytest.raises(SourceMalformed, match="is it a Grafana"):
        pushed(gate)
    fake.faults["POST", FOLDERS] = [Answer(404)]
    with pytest.raises(SourceRejected, match=r"is not there: is http://127.0.0.1:\d+ the address of a Grafana"):
        pushed(gate)


@pytest.mark.parametrize(
    ("sources", "name", "url", "found"),
    [
        ([source("a", "http://x"), source("b", "http://y/")], None, "http://y", "uid-b"),
        ([source("only", "http://x"), source("sql", "http://y", "postgres")], None, "http://y", "uid-only"),
        ([source("a"), source("b")], "b", "http://store:8428", "uid-b"),
        ([source("a"), source("b")], "uid-a", None, "uid-a"),
    ],
)
def test_the_data_source_is_found(
    fake: FakeGrafana, gate: Gate, sources: list[dict[str, str]], name: str | None, url: str | None, found: str
) -> None:
    fake.sources = sources
    assert find_data_source(open_grafana(gate.url), name, url).uid == found


@pytest.mark.parametrize(
    ("sources", "name", "says"),
    [
        (
            [source("a"), source("b")],
            None,
            "has 2 Prometheus data sources at http://store:8428; give --datasource: a, b",
        ),
        ([source("a")], "carbon", "has 0 Prometheus data sources named 'carbon'; give --datasource: a"),
        ([source("pg", kind="postgres")], None, "it has none of type prometheus"),
    ],
)
def test_a_data_source_that_is_not_clear_is_a_question(
    fake: FakeGrafana, gate: Gate, sources: list[dict[str, str]], name: str | None, says: str
) -> None:
    fake.sources = sources
    with pytest.raises(ConfigError, match=says):
        find_data_source(open_grafana(gate.url), name, "http://store:8428")


def test_a_grafana_of_a_private_authority_is_trusted_by_its_file_alone(fake: FakeGrafana, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair, context = authority.sign("grafana"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    secured = fake.gate()
    secured._server.socket = context.wrap_socket(secured._server.socket, server_side=True)
    with secured.open():
        url = secured.url.replace("http://", "https://")
        with pytest.raises(SourceRejected, match="this machine does not trust"):
            open_grafana(url).get(FOLDERS)
        assert open_grafana(url, ca_file=authority.own.cert).get(FOLDERS) == []


def test_without_its_token_nothing_is_asked(gate: Gate) -> None:
    server = SecuredServer(url=gate.url, bearer_token_env="NO_SUCH")  # noqa: S106 # the name of a variable
    with pytest.raises(ConfigError, match="the environment has no NO_SUCH"):
        Grafana(server, HttpSettings(), {}, FixedClock(datetime(2026, 11, 3, tzinfo=UTC)))
    assert gate.knocks == []
