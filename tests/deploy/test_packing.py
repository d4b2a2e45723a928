"""A configuration taken elsewhere says there what it said here, and no secret travels with it."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from pipeline.config import load
from pipeline.deployment.packing import Places, pack
from pipeline.errors import ConfigError
from tests.deploy.deployed import AMAZON, LARGE, SMALL, settings

ROOT = Path(__file__).parents[2]
PLACES = Places(secrets=Path("/there/secrets"), files=Path("/there/files"), state=Path("/there/state"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    text
    for page in PAGES
    for text in re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if "[[clusters]]" in text
]


def without_places(part: Any) -> Any:  # noqa: ANN401 # whatever a part holds
    """What a configuration says, but where its files and secrets are."""
    if isinstance(part, BaseModel):
        named = {name: getattr(part, name) for name in type(part).model_fields}
        return {
            name: without_places(value)
            for name, value in named.items()
            if not isinstance(value, Path) and not name.endswith(("_env", "_file"))
        }
    return [without_places(item) for item in part] if isinstance(part, tuple) else part


@pytest.mark.parametrize("text", [SMALL, LARGE, AMAZON, *BLOCKS], ids=range(len(BLOCKS) + 3))
def test_it_means_the_same_there(text: str, tmp_path: Path) -> None:
    here = settings(tmp_path, text)
    config = tmp_path / "there.toml"
    config.write_text(pack(here, PLACES).config, encoding="utf-8")
    there = load(config, {})
    is_object_store = here.warehouse.is_object_store
    assert there.warehouse.path == (here.warehouse.path if is_object_store else "/there/state/warehouse")
    assert there.warehouse.cache == ("/there/state/cache" if is_object_store else None)
    before, after = without_places(here), without_places(there)
    del before["warehouse"], after["warehouse"]
    assert after == before
    for old, new in zip(here.clusters, there.clusters, strict=True):
        assert new.digest(there.energy) == old.digest(here.energy)  # else every hour would be folded again


def test_each_secret_becomes_a_file_of_its_own(tmp_path: Path) -> None:
    packed = pack(settings(tmp_path, LARGE), PLACES)
    assert packed.secrets == {
        "token": Path("/run/mimir/token"),
        "ca.pem": Path("/run/mimir/ca.pem"),
        "THANOS_PASSWORD": "THANOS_PASSWORD",
        "THANOS_KEY": "THANOS_KEY",
        "other": Path("/run/thanos/other"),
        "grid-token": Path("/run/grid/token"),
        "STORE_TOKEN": "STORE_TOKEN",
    }
    config = tomllib.loads(packed.config)
    first, second = config["clusters"][0]["prometheus"]
    assert first.items() >= {("bearer_token_file", "/there/secrets/token"), ("ca_file", "/there/secrets/ca.pem")}
    assert ("password_file", "/there/secrets/THANOS_PASSWORD") in second.items()
    assert second["headers_file"] == {"X-Key": "/there/secrets/THANOS_KEY", "X-Other": "/there/secrets/other"}
    assert config["intensity"]["electricity_maps"] == {"token_file": "/there/secrets/grid-token"}
    assert "_env" not in packed.config


def test_a_file_named_twice_is_taken_once(tmp_path: Path) -> None:
    text = LARGE.replace("/run/grid/token", "/run/mimir/token")
    assert "grid-token" not in pack(settings(tmp_path, text), PLACES).secrets


def test_its_csv_files_come_along_by_names_that_a_key_may_have(tmp_path: Path) -> None:
    packed = pack(settings(tmp_path, LARGE), PLACES)
    assert packed.texts() == {"pue.csv": "PUE_CSV,start_utc\n", "my-grid.csv": "GRID_CSV,start_utc\n"}
    config = tomllib.loads(packed.config)
    assert config["clusters"][0]["pue"] == {"csv": "/there/files/pue.csv"}
    assert config["intensity"]["csv"] == {"path": "/there/files/my-grid.csv"}


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    packed = pack(settings(tmp_path, LARGE), PLACES)
    (tmp_path / "pue.csv").unlink()
    with pytest.raises(ConfigError, match=r"cannot read .*/pue\.csv: No such file"):
        packed.texts()


def test_a_folder_has_to_lie_where_it_is_read(tmp_path: Path) -> None:
    text = SMALL + '[intensity]\nproviders = ["electricity_maps_csv"]\nelectricity_maps_csv = {{ path = "{}" }}\n'
    with pytest.raises(ConfigError, match=r"is a folder: .* /there/state/"):
        pack(settings(tmp_path, text.format(tmp_path)), PLACES)
    packed = pack(settings(tmp_path, text.format("/there/state/portal")), PLACES)
    assert 'path = "/there/state/portal"' in packed.config
    assert not packed.files


def test_an_inherited_table_is_written_once(tmp_path: Path) -> None:
    config = tomllib.loads(pack(settings(tmp_path, LARGE), PLACES).config)
    assert "intensity" not in config["clusters"][0]
    assert config["clusters"][1]["intensity"]["providers"] == ["rte", "static"]
