"""A PUE is one number or one source, and each mistake is one line that says what to write."""

from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.errors import ConfigError
from pipeline.settings import ClusterSettings, EnergySettings
from pipeline.settings.pue import PueTable

TEXT = """
[[clusters]]
name = "prod-eu"
prometheus_url = "http://127.0.0.1:9090"
grid_zone = "DE"
"""
CLOUD = TEXT.replace('grid_zone = "DE"', 'cloud = "aws"\nregion = "eu-central-1"')


def cluster(tmp_path: Path, text: str, **env: str) -> ClusterSettings:
    path = tmp_path / "carbon-etl.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, env).clusters[0]


@pytest.mark.parametrize(
    ("text", "pue"),
    [
        (TEXT + "pue = 1.2", 1.2),
        (TEXT + "pue = 1", 1.0),
        (TEXT + "pue = 3.0", 3.0),
        (TEXT + 'pue = { query = "a / b" }', PueTable(query="a / b")),
        (TEXT + '[clusters.pue]\nquery = "a / b"', PueTable(query="a / b")),
        (TEXT + 'pue = { csv = "pue.csv" }', PueTable(csv=Path("pue.csv"))),
        (CLOUD + "pue = { published = true }", PueTable(published=True)),
        (TEXT + 'pue = { csv = "pue.csv", published = false }', PueTable(csv=Path("pue.csv"))),
    ],
)
def test_each_form_is_read(text: str, pue: float | PueTable, tmp_path: Path) -> None:
    assert cluster(tmp_path, text).pue == pue


FORMS = 'write pue = 1.2, or one of { query = "..." }, { csv = "pue.csv" } and { published = true }'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pue = 0.99", "clusters.0.pue: a PUE of 0.99 is below 1: facility energy holds the IT energy"),
        ("pue = 3.1", "clusters.0.pue: a PUE of 3.1 is not plausible: 1 to 3 is taken"),
        ("pue = nan", "clusters.0.pue: a PUE of nan is not plausible"),
        ("pue = true", f"clusters.0.pue: {FORMS}"),
        ('pue = "1.2"', f"clusters.0.pue: {FORMS}"),
        ("pue = {}", f"clusters.0.pue: {FORMS}"),
        ('pue = { query = "a", csv = "b" }', f"clusters.0.pue: {FORMS}"),
        ('pue = { query = "a", published = true }', f"clusters.0.pue: {FORMS}"),
        ("pue = { published = false }", f"clusters.0.pue: {FORMS}"),
        ('pue = { query = " " }', "clusters.0.pue: query is empty"),
        ('pue = { queri = "a" }', "unknown key clusters.0.pue.queri: did you mean 'query'?"),
        ("pue = { csv = 3 }", "clusters.0.pue.csv: Input is not a valid path"),
        ("pue = { published = true }", "is of a cloud's region: give cloud and region, or pue = 1.2"),
        ("", "clusters.0.pue is missing: there is no silent default, write pue = 1.2"),
    ],
)
def test_each_mistake_is_one_line(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        cluster(tmp_path, TEXT + text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("clusters.0") == 1, "told once"


def test_the_environment_may_give_a_number_or_a_key(tmp_path: Path) -> None:
    number = cluster(tmp_path, TEXT + "pue = 1.2", CARBON_ETL__CLUSTERS__PROD_EU__PUE="1.5")
    assert number.pue == 1.5
    table = cluster(tmp_path, TEXT + 'pue = { csv = "a" }', CARBON_ETL__CLUSTERS__PROD_EU__PUE__CSV="b")
    assert table.pue == PueTable(csv=Path("b"))


def test_a_pue_decides_grams_and_no_joules(tmp_path: Path) -> None:
    texts = ["pue = 1.2", "pue = 1.3", 'pue = { query = "a" }', 'pue = { query = "b" }', 'pue = { csv = "a" }']
    found = [cluster(tmp_path, TEXT + text) for text in texts]
    assert len({one.price_digest() for one in found}) == len(texts)
    assert len({one.digest(EnergySettings()) for one in found}) == 1


def test_a_cluster_read_back_from_its_own_dump_is_the_same(tmp_path: Path) -> None:
    for text in ("pue = 1.2", 'pue = { query = "a" }', 'pue = { csv = "a" }'):
        one = cluster(tmp_path, TEXT + text)
        assert ClusterSettings.model_validate(one.model_dump()) == one
        assert ClusterSettings.model_validate_json(one.model_dump_json()) == one
