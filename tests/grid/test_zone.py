"""Who is asked about a zone is decided by a cluster's own configuration, or by [intensity] for a bare zone."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.grid.zone import Wanted
from pipeline.settings.market import MarginalSettings
from tests.grid.asked import settings, zone_of

WATTTIME = {"username_env": "WATT_USER", "password_env": "WATT_PASSWORD"}


def test_a_zone_is_asked_of_the_providers_of_intensity_in_their_order(tmp_path: Path) -> None:
    zone = zone_of(settings(tmp_path), "FR")
    assert (zone.rule.providers, dict(zone.zones)) == (("electricity_maps", "static"), {"electricity_maps": "FR"})
    assert zone.refused == {"static": "embedded in this program, never asked"}


def test_a_cluster_is_asked_of_its_own_providers_and_under_its_own_name(tmp_path: Path) -> None:
    own = {"providers": ["electricity_maps"], "electricity_maps": {"zone": "DE-X", "token_env": "EM_TOKEN"}}
    zone = zone_of(settings(tmp_path, cluster={"intensity": own}), None, cluster="c")
    assert (zone.about, zone.rule.providers, zone.zones["electricity_maps"]) == (
        "DE (cluster c)", ("electricity_maps",), "DE-X",
    )  # fmt: skip


def test_the_zone_of_a_table_renames_a_clusters_zone_and_no_other(tmp_path: Path) -> None:
    given = settings(tmp_path, electricity_maps={"zone": "DE-X", "token_env": "EM_TOKEN"})
    assert zone_of(given, "FR").zones["electricity_maps"] == "FR"
    assert zone_of(given, None, cluster="c").zones["electricity_maps"] == "DE-X"


def test_a_zone_may_be_the_providers_own_where_the_provider_is_named(tmp_path: Path) -> None:
    given = settings(tmp_path, eia={"token_env": "EM_TOKEN"}, watttime=WATTTIME)
    assert zone_of(given, "CISO", Wanted(provider="eia")).zones == {"eia": "CISO"}
    marginal = Wanted("marginal", "direct", "watttime")
    assert zone_of(given, "CAISO_NORTH", marginal).zones == {"watttime": "CAISO_NORTH"}


def test_marginal_figures_are_asked_of_providers_that_only_have_a_table(tmp_path: Path) -> None:
    given = settings(tmp_path, watttime=WATTTIME | {"zone": "CAISO_NORTH"})
    zone = zone_of(given, None, Wanted("marginal", "direct"), cluster="c")
    assert dict(zone.zones) == {"watttime": "CAISO_NORTH"}
    assert zone.refused["electricity_maps"].startswith("electricity_maps has average direct and average lifecycle")
    assert "watttime" not in zone_of(given, None, cluster="c").rule.providers


def test_marginal_rates_of_a_cluster_are_those_of_the_zone_that_marginal_names(tmp_path: Path) -> None:
    given = settings(tmp_path, watttime=WATTTIME | {"zone": "CAISO"}).model_copy(
        update={"marginal": MarginalSettings(zones={"c": "CAISO_NORTH"})}
    )
    for signal, own in (("marginal", "CAISO_NORTH"), ("average", "CAISO")):
        zone = zone_of(given, None, Wanted(signal, "direct", "watttime"), cluster="c")  # type: ignore[arg-type] # both are signals
        assert zone.zones == {"watttime": own}


def test_a_provider_that_does_not_know_the_zone_keeps_no_other_from_it(tmp_path: Path) -> None:
    given = settings(tmp_path, providers=["neso", "electricity_maps"], factor_type="direct")
    zone = zone_of(given, "DE")
    assert list(zone.web) == ["electricity_maps"]
    assert zone.refused["neso"].startswith("neso knows the zone GB")


@pytest.mark.parametrize(
    ("zone", "cluster", "wanted", "says"),
    [
        (None, None, Wanted(), "say which zone: ZONE as in grid_zone, or --cluster NAME"),
        ("DE", "c", Wanted(), "say which zone"),
        (None, "d", Wanted(), "no cluster 'd' in the config"),
        ("DE", None, Wanted(provider="nesso"), "no provider 'nesso': did you mean 'neso'"),
        ("FR", None, Wanted(factor_type="direct", provider="neso"), "neso cannot be asked about FR: neso knows the"),
        ("DE", None, Wanted(provider="watttime"), "watttime cannot be asked about DE: .*username_env"),
        ("DE", None, Wanted("marginal", None, "electricity_maps"), "not marginal lifecycle: see --signal"),
        ("DE", None, Wanted(provider="prometheus"), r"give --cluster instead of a zone"),
    ],
)
def test_what_cannot_be_meant_is_told(
    zone: str | None, cluster: str | None, wanted: Wanted, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=says):
        zone_of(settings(tmp_path), zone, wanted, cluster)
