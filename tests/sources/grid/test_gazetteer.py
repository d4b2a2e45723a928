"""Looking up zones: every cloud region has a place, distances are right, and the shipped places are plausible."""

import csv
from collections import defaultdict

import pytest

from pipeline.errors import ConfigError
from pipeline.sources.grid import gazetteer, yearly
from pipeline.sources.grid.gazetteer import near, regions, zones


def rows(name: str) -> list[dict[str, str]]:
    with (yearly.DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_zone_is_found_by_code_and_by_name_with_its_newest_year() -> None:
    newest = max((r for r in rows("zone_yearly.csv") if r["code"] == "FR"), key=lambda r: int(r["year"]))
    (found,) = zones("france")
    assert found == ("FR", "France", int(newest["year"]), float(newest["gco2e_per_kwh"]), newest["basis"])
    assert found in zones("fr")
    assert len(zones()) == len({r["code"] for r in rows("zone_yearly.csv")})


def test_a_cloud_region_leads_to_its_grid_zone_and_its_published_pue() -> None:
    (found,) = regions(cloud="aws", region="eu-central-1")
    assert (found.location, found.grid_zone, found.yearly_code, found.pue) == (
        "Frankfurt", "DE", "DE", "1.24 (region, 2025)",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="no aws region 'eu-centrl-1': did you mean 'eu-central-1'"):
        regions(cloud="aws", region="eu-centrl-1")


def test_every_region_has_one_place_and_every_place_a_region() -> None:
    names = [(r["provider"], r["region"]) for r in rows("region_places.csv")]
    assert sorted(names) == sorted({(r["provider"], r["region"]) for r in rows("cloud_regions.csv")})
    assert all(one.latitude is not None for one in regions())


def test_one_place_has_one_position_and_regions_of_one_country_are_near_each_other() -> None:
    positions: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in rows("region_places.csv"):
        positions[row["place"]].add((row["latitude"], row["longitude"]))
    assert all(len(found) == 1 for found in positions.values())
    by_country: dict[str, list[gazetteer.Region]] = defaultdict(list)
    country = {(r["provider"], r["region"]): r["country_iso2"] for r in rows("cloud_regions.csv")}
    for one in regions():
        by_country[country[one.cloud, one.region]].append(one)
    widest_km = {"US": 4200, "AU": 3500, "CA": 3500, "IN": 2200, "CN": 2500, "BR": 3000, "ZA": 1600}
    for name, found in by_country.items():
        here = found[0]
        assert here.latitude is not None
        assert here.longitude is not None
        assert near(here.latitude, here.longitude, found)[-1][0] < widest_km.get(name, 700), name


@pytest.mark.parametrize(
    ("place", "region", "km"),
    # great circles from published tables of distances between cities, in km
    [
        ((51.5074, -0.1278), "eu-west-3", 344),
        ((40.7128, -74.0060), "eu-west-2", 5570),
        ((-33.87, 151.21), "ap-northeast-1", 7820),
    ],
)
def test_distances_are_those_of_an_atlas(place: tuple[float, float], region: str, km: float) -> None:
    (found,) = regions(cloud="aws", region=region)
    assert near(*place, [found])[0][0] == pytest.approx(km, abs=12)


def test_the_nearest_comes_first_and_across_the_date_line_too() -> None:
    assert near(52.5, 13.4, regions(cloud="gcp"))[0][1].region == "europe-west10"
    distance, first = near(-36.8, -179.9, regions(cloud="aws"))[0]
    assert (first.region, distance < 600) == ("ap-southeast-6", True)
