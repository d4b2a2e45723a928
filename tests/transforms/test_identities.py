"""Who used energy: each hour by the names and the owners that were known in it."""

import numpy as np

from pipeline.transforms.energy import Energy, fold
from pipeline.transforms.folded import Names
from pipeline.transforms.identities import texts
from pipeline.transforms.owners import Owners
from pipeline.transforms.sheet import FoldRules
from tests.transforms.made import (
    MAX_GAP_SECONDS,
    NOBODY,
    Made,
    fold_both_ways,
    line,
    only,
    owners_of,
    scrapes,
    where,
    window_of,
)

GAP_MS = MAX_GAP_SECONDS * 1000
AT = scrapes("09:45", "13:15")
DATABASE, CACHE = owners_of({"uid": ("StatefulSet", "db")}), owners_of({"uid": ("DaemonSet", "cache")})


def node() -> Made:
    return Made().node(line(100, AT), line(50, AT))


def folded(made: Made, owners: list[Owners]) -> Energy:
    return fold(made.samples(), window_of(0, len(owners)), FoldRules("demo", GAP_MS, 60), owners, {}, None)


def test_each_hour_names_the_owner_that_was_known_in_it() -> None:
    rows = where(folded(node().pod("uid", line(20, AT)), [DATABASE, NOBODY, CACHE]).rows, kind="workload")
    assert [(row["workload_kind"], row["workload"], row["owner_source"]) for row in rows] == [
        ("StatefulSet", "db", "kube-state-metrics"),
        ("Pod", "web", "guessed"),
        ("DaemonSet", "cache", "kube-state-metrics"),
    ]


def test_hours_that_share_their_owners_are_each_as_if_alone() -> None:
    made = node().pod("uid", line(20, AT)).pod("other", line(10, AT), name="api-0")
    whole = folded(made, [DATABASE, CACHE, DATABASE])
    for hour, owners in enumerate((DATABASE, CACHE, DATABASE)):
        alone = made.fold(hour, owners=owners).rows
        assert len(where(alone, kind="workload")) == 2
        for row in where(alone, kind="workload"):
            mine = only(whole.rows, hour=hour, kind="workload", pod_uid=row["pod_uid"])
            assert (mine["workload"], mine["owner_source"]) == (row["workload"], row["owner_source"])


def test_a_pod_has_in_each_hour_the_latest_full_name_near_it() -> None:
    early, late = (line(20, scrapes(*span), since=0) for span in (("09:45", "11:20"), ("11:21", "13:15")))
    made = node().pod("uid", early, name="old-name").pod("uid", late, name="new-name")
    made.pod("unnamed", line(10, AT), name=None)
    energy = fold_both_ways(made, 0, 3)
    pods = {hour: [row["pod"] for row in where(energy.rows, kind="workload", hour=hour)] for hour in range(3)}
    assert pods == {0: ["old-name", None], 1: ["new-name", None], 2: ["new-name", None]}


def test_a_name_seen_beyond_max_gap_of_an_hour_is_not_its_name() -> None:
    nameless = line(20, scrapes("09:45", "12:11"), since=0)
    made = node().pod("uid", nameless, name=None).pod("uid", line(20, scrapes("12:11:30", "13:15"), since=0))
    energy = fold_both_ways(made, 0, 3)
    assert [row["pod"] for row in where(energy.rows, kind="workload")] == [None, None, "web"]


def test_names_are_numbered_hour_by_hour() -> None:
    names = Names.by_hour([{0: ("a", "x")}, {}, {2: ("a", "x"), 0: ("a", "y")}], 3)
    assert names.known == [("a", "x"), ("a", "y")]
    assert names.number.tolist() == [[0, -1, 1], [-1, -1, -1], [-1, -1, 0]]
    always = Names.always({1: ("a", "x")}, 2, 4)
    assert (always.known, always.number.tolist()) == ([("a", "x")], [[-1] * 4, [0] * 4])
    assert Names.always({}, 0, 2).number.shape == (0, 2)


def test_texts_are_taken_by_position_and_null_without_one() -> None:
    assert texts(["a", None], np.array([0, -1, 1, 0])).to_pylist() == ["a", None, None, "a"]
    assert texts([], np.array([-1])).to_pylist() == [None]
