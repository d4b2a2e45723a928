"""What `grid zones` prints."""

import pytest

from pipeline.errors import ConfigError
from pipeline.grid.lookup import NEAREST, look_up


def said(text: str = "", near: str | None = None, cloud: str | None = None, region: str | None = None) -> list[str]:
    return list(look_up(text, near, cloud, region))


def test_a_text_finds_zones_and_cloud_regions() -> None:
    lines = said("frankfurt")
    assert lines[0].split()[:3] == ["cloud", "region", "place"]
    assert [line.split()[1] for line in lines[1:]] == ["eu-central-1", "europe-west3", "germanywestcentral"]
    lines = said("GERMANY")
    assert lines[1].split()[:2] == ["DE", "Germany"]
    assert lines[2] == ""


def test_columns_are_aligned() -> None:
    lines = said("", None, "aws")
    start = lines[0].index("PUE published")
    assert all(line[start - 2 : start] == "  " and line[start] in "-1" for line in lines[1:])


def test_a_cloud_has_its_regions_and_no_zones() -> None:
    lines = said(cloud="gcp")
    assert {line.split()[0] for line in lines[1:]} == {"gcp"}
    assert len(said(cloud="aws", region="eu-west-3")) == 2


def test_without_anything_every_zone_is_listed() -> None:
    assert len(said()) == 1 + 233


def test_near_lists_the_nearest_with_their_distance_and_says_how_exact_it_is() -> None:
    lines = said(near="48.86,2.35")
    assert len(lines) == 1 + NEAREST + 1
    assert lines[1].split()[1:3] == ["aws", "eu-west-3"]
    assert "to about 10 km" in lines[-1]
    distances = [float(line.split()[0].replace(",", "")) for line in lines[1:-1]]
    assert distances == sorted(distances)
    assert distances[0] < 10


@pytest.mark.parametrize("near", ["52.5", "north", "91,0", "0,181", "52.5 13.4", "nan,0"])
def test_what_is_no_place_is_told(near: str) -> None:
    with pytest.raises(ConfigError, match="is no place: write latitude,longitude"):
        said(near=near)


def test_what_is_called_like_nothing_has_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"nothing is called 'US-CX': did you mean US-"):
        said("US-CX")
