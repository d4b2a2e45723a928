"""The map of teams: what a file says, cluster by cluster, and what it is refused for."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.sources import teams

CLUSTERS = ["prod-eu", "prod-us", "stage"]
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)


def write(folder: Path, *lines: str, header: str = "namespace,team,cluster,from,to") -> Path:
    path = folder / "teams.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_line_is_about_the_clusters_of_its_pattern_and_open_where_it_says_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "shop,blue,prod-*,,2026-11-01", "shop,green,prod-eu,2026-11-01,", "(idle),platform,,,")
    assert teams.read(path, CLUSTERS) == [
        {"cluster": "prod-eu", "namespace": "shop", "team": "blue", "start_utc": None, "end_utc": NOVEMBER},
        {"cluster": "prod-us", "namespace": "shop", "team": "blue", "start_utc": None, "end_utc": NOVEMBER},
        {"cluster": "prod-eu", "namespace": "shop", "team": "green", "start_utc": NOVEMBER, "end_utc": None},
        *(
            {"cluster": name, "namespace": "(idle)", "team": "platform", "start_utc": None, "end_utc": None}
            for name in CLUSTERS
        ),
    ]


def test_two_columns_are_enough(tmp_path: Path) -> None:
    found = teams.read(write(tmp_path, "shop,blue", header="namespace,team"), ["prod-eu"])
    assert [(line["namespace"], line["team"], line["start_utc"]) for line in found] == [("shop", "blue", None)]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["shop,blue,,,", "shop,green,,,"], "2 and 3: namespace shop of prod-eu has two teams at a time, blue and"),
        (["shop,blue,,,2026-11-02", "shop,green,stage,2026-11-01,"], "line 2 and 3: namespace shop of stage has two"),
        (["shop,blue,,2026-11-01,", "x,y,,,", "shop,blue,,2026-12-01,2026-12-02"], "line 2 and 4: namespace shop"),
        (["shop,,,,"], "line 2: team is empty"),
        ([",blue,,,"], "line 2: namespace is empty"),
        (["shop,(no team),,,"], "line 2: (no team) is what namespaces without a line are shown as"),
        (["shop,blue,test-*,,"], "line 2: cluster 'test-*' is none of prod-eu, prod-us, stage"),
        (["shop,blue,,1.11.2026,"], "line 2: from '1.11.2026' is not a UTC day: write 2026-11-01"),
        (["shop,blue,,2026-11-01T00:00Z,"], "is not a UTC day"),
        (["shop,blue,,2026-11-01,2026-11-01"], "line 2: it ends on 2026-11-01, before it begins"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_meant_is_refused_with_its_place(
    tmp_path: Path, lines: list[str], complaint: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        teams.read(write(tmp_path, *lines), CLUSTERS)
    assert str(refused.value).startswith(str(tmp_path / "teams.csv"))
    assert complaint in str(refused.value)


def test_lines_that_only_touch_do_not_overlap(tmp_path: Path) -> None:
    path = write(tmp_path, "shop,a,,,2026-11-01", "shop,b,,2026-11-01,2026-12-01", "shop,c,,2026-12-01,")
    assert len(teams.read(path, ["prod-eu"])) == 3


def test_an_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="column 'owner' is missing, unknown or there twice"):
        teams.read(write(tmp_path, "shop,blue,x", header="namespace,team,owner"), CLUSTERS)
