"""Dashboards pushed into a Grafana: what is written, and what is left alone."""

import json
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.handover.dashboards import shipped
from pipeline.handover.grafana import Conflict
from pipeline.handover.push import push
from tests.gatekeeper import Gate
from tests.handover.grafana import BOARDS, FOLDERS, SOURCE, TOKEN, UIDS, FakeGrafana, open_grafana, pushed, said
from tests.product import Product


def test_an_empty_grafana_gets_the_folder_and_every_dashboard_with_its_data_source(
    fake: FakeGrafana, gate: Gate
) -> None:
    done = pushed(gate)
    assert [(one.uid, one.action) for one in done] == [(uid, "created") for uid in UIDS]
    assert done[0].url == f"{gate.url}/d/{UIDS[0]}/x"
    assert [one["title"] for one in fake.folders] == ["Carbon"]
    for asked, board in zip(fake.written[1:], BOARDS, strict=True):
        assert asked == {
            "dashboard": board, "folderUid": "carbon-etl-carbon", "message": "carbon-etl 1.2.3", "overwrite": True,
        }  # fmt: skip
        [variable] = [one for one in asked["dashboard"]["templating"]["list"] if one["name"] == "datasource"]
        assert variable["current"] == {"selected": True, "text": "carbon", "value": "uid-carbon"}
    assert {knock.headers["authorization"] for knock in gate.knocks} == {f"Bearer {TOKEN}"}


def test_pushing_again_writes_nothing(fake: FakeGrafana, gate: Gate) -> None:
    pushed(gate)
    fake.written.clear()
    assert [one.action for one in pushed(gate)] == ["unchanged", "unchanged"]
    assert fake.written == []


def test_a_dashboard_that_was_changed_or_moved_is_replaced(fake: FakeGrafana, gate: Gate) -> None:
    pushed(gate)
    fake.held[UIDS[0]]["dashboard"]["title"] = "Mine now"
    fake.held[UIDS[1]]["meta"]["folderUid"] = "elsewhere"
    assert [one.action for one in pushed(gate)] == ["replaced", "replaced"]
    assert fake.held[UIDS[0]]["dashboard"]["title"] == BOARDS[0]["title"]
    assert fake.held[UIDS[1]]["meta"]["folderUid"] == "carbon-etl-carbon"


def test_a_dry_run_asks_and_writes_nothing(fake: FakeGrafana, gate: Gate) -> None:
    assert [one.line(dry_run=True) for one in pushed(gate, dry_run=True)] == [
        f"would create {board['title']} ({board['uid']})" for board in BOARDS
    ]
    assert {knock.method for knock in gate.knocks} == {"GET"}


def test_somebody_elses_dashboard_of_a_uid_of_ours_stays_and_nothing_is_written(fake: FakeGrafana, gate: Gate) -> None:
    other = {"uid": UIDS[1], "title": "Theirs", "tags": ["team-x"], "version": 3}
    fake.held[UIDS[1]] = {"dashboard": other, "meta": {"folderUid": ""}}
    with pytest.raises(ConfigError, match="without our tag carbon-etl: Theirs"):
        pushed(gate)
    assert fake.written == []
    assert [one.action for one in pushed(gate, force=True)] == ["created", "replaced"]


def test_a_dashboard_that_files_hold_is_refused_even_by_force(fake: FakeGrafana, gate: Gate) -> None:
    fake.held[UIDS[0]] = {"dashboard": BOARDS[0], "meta": {"provisioned": True}}
    for force in (False, True):
        with pytest.raises(ConfigError, match="held by provisioning files"):
            pushed(gate, force=force)
    assert fake.written == []


def test_a_folder_that_is_there_is_used_by_title_or_uid(fake: FakeGrafana, gate: Gate) -> None:
    fake.folders.append({"id": 1, "uid": "abc", "title": "Green"})
    for name in ("Green", "abc"):
        push(open_grafana(gate.url), BOARDS[:1], name, "m", force=False, dry_run=False)
        assert fake.held[UIDS[0]]["meta"]["folderUid"] == "abc"
    assert len(fake.folders) == 1


def test_two_folders_of_one_title_are_a_question(fake: FakeGrafana, gate: Gate) -> None:
    fake.folders += [{"uid": uid, "title": "Carbon"} for uid in ("a", "b")]
    with pytest.raises(ConfigError, match="has 2 folders titled Carbon: give --folder the uid of one"):
        pushed(gate)
    assert fake.written == []


def test_a_folder_whose_answer_was_lost_is_not_made_twice(fake: FakeGrafana, gate: Gate) -> None:
    made = {"id": 7, "uid": "carbon-etl-carbon", "title": "Carbon"}
    fake.faults["GET", FOLDERS] = [said([])]
    fake.folders.append(made)
    assert [one.action for one in pushed(gate)] == ["created", "created"]
    assert fake.folders == [made]


def test_a_folder_that_conflicts_with_something_unseen_is_told(fake: FakeGrafana, gate: Gate) -> None:
    fake.faults["POST", FOLDERS] = [said({"message": "a folder with the same uid already exists"}, 409)]
    with pytest.raises(Conflict, match="answers 409: a folder with the same uid already exists"):
        pushed(gate)


def test_the_command_pushes_and_tells_what_it_did(fake: FakeGrafana, gate: Gate, tmp_path: Path) -> None:
    product = Product(tmp_path, "http://127.0.0.1:9")
    product.config.write_text(
        product.config.read_text() + '[[remote_write]]\nurl = "http://store:8428/api/v1/write"\n', encoding="utf-8"
    )
    said = product.call("dashboards", "push", "--url", gate.url, env={"GRAFANA_TOKEN": TOKEN})
    assert (said.code, said.err) == (0, "")
    assert len(said.out.splitlines()) == len(fake.held) == len(shipped(SOURCE))
    assert said.out.startswith("created ")
    refused = product.call("dashboards", "push", "--url", gate.url, "--json", env={"GRAFANA_TOKEN": "other"})
    assert (refused.code, "check the token" in refused.only_error()) == (2, True)
    again = product.call("dashboards", "push", "--url", gate.url, "--json", env={"GRAFANA_TOKEN": TOKEN})
    assert {one["action"] for one in json.loads(again.out)} == {"unchanged"}
