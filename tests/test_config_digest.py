"""The digest of a configuration changes with whatever decides a figure, and with nothing else."""

from pathlib import Path

import pytest

from pipeline.settings import Settings
from tests.config_texts import SMALL, read

DIGEST_BASE = SMALL + "[intensity]\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pue = 1.2", "pue = 1.21"),
        ('grid_zone = "DE"', 'grid_zone = "FR"'),
        ('grid_zone = "DE"', 'cloud = "aws"\nregion = "eu-central-1"'),
        ("[intensity]", 'energy_step = "5m"\n[intensity]'),
        ("[intensity]", '[intensity]\naccept = "forecast"'),
        ("[intensity]", '[intensity]\nproviders = ["csv", "static"]'),
        ("[intensity]", '[intensity]\nfactor_type = "direct"'),
        ("[intensity]", '[intensity]\nproviders = ["csv"]\n[intensity.csv]\npath = "x.csv"'),
        ("[intensity]", '[energy]\nmax_gap = "9m"'),
    ],
)
def test_the_digest_changes_with_whatever_decides_a_figure(old: str, new: str, tmp_path: Path) -> None:
    assert _digest(read(tmp_path, DIGEST_BASE)) != _digest(read(tmp_path, DIGEST_BASE.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("127.0.0.1:9090", "127.0.0.2:9090"),
        ("[intensity]", 'start = "2026-01-01T00:00Z"\n[intensity]'),
        ("[intensity]", "[http]\ntimeout_seconds = 1"),
        ("[intensity]", '[warehouse]\npath = "x"'),
        ("[intensity]", '[[remote_write]]\nurl = "http://a"'),
        ("[intensity]", "[publish]\nmax_series = 1"),
        ("[intensity]", '[intensity]\nproviders = ["static"]'),
        ("[intensity]", '[intensity.csv]\npath = "x.csv"'),
        ("[intensity]", '[intensity.electricity_maps]\ntoken_env = "OTHER"'),
    ],
)
def test_the_digest_stays_with_whatever_does_not(old: str, new: str, tmp_path: Path) -> None:
    assert old in DIGEST_BASE
    assert _digest(read(tmp_path, DIGEST_BASE)) == _digest(read(tmp_path, DIGEST_BASE.replace(old, new)))


def _digest(settings: Settings) -> str:
    cluster = settings.clusters[0]
    digests = cluster.digest(settings.energy), cluster.price_digest()
    assert [len(digest) for digest in digests] == [12, 12]
    return "-".join(digests)
