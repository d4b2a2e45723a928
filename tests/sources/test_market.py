"""A user's market file is read exactly or refused with its line, and told for each cluster that it is about."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.sources.market import declarations, read
from pipeline.tables import CLUSTER_ZONES, MARKET_FACTORS

NOW = datetime(2026, 11, 2, tzinfo=UTC)
HEADER = "cluster,zone,start_utc,end_utc,g_per_kwh,instrument,share,factor_type,note"
YEAR = "2026-01-01T00:00+01:00,2027-01-01T00:00+01:00"


def written(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "market.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def settings(path: Path | None, marginal: dict[str, Any] | None = None) -> Settings:
    """Two clusters in DE, one in an AWS region of the same zone's name, one in FR with WattTime's table."""
    base = {"prometheus_url": "http://127.0.0.1:9", "pue": 1.2}
    clusters: list[dict[str, Any]] = [
        base | {"name": "a", "grid_zone": "DE"},
        base | {"name": "b", "grid_zone": "DE"},
        base | {"name": "cloudy", "cloud": "aws", "region": "eu-central-1"},
        base | {"name": "c", "grid_zone": "FR", "intensity": {"watttime": {"zone": "FR"}}},
    ]
    given: dict[str, Any] = {"clusters": clusters}
    given |= {} if path is None else {"market": {"csv": str(path)}}
    return Settings.model_validate(given | ({} if marginal is None else {"marginal": marginal}))


def told(path: Path) -> list[dict[str, Any]]:
    table = declarations(settings(path), NOW)["market_factors"]
    assert table.schema == MARKET_FACTORS
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_every_column_of_a_line_is_filled(tmp_path: Path) -> None:
    (row,) = told(written(tmp_path, f"a,,{YEAR},0,PPA,0.4,direct,wind park"))
    assert row == {
        "cluster": "a", "zone": None, "start_utc": datetime(2025, 12, 31, 23, tzinfo=UTC),
        "end_utc": datetime(2026, 12, 31, 23, tzinfo=UTC), "g_per_kwh": 0.0, "instrument": "PPA", "share_ratio": 0.4,
        "factor_type": "direct", "note": "wind park", "fetched_utc": NOW,
    }  # fmt: skip


def test_a_contract_covers_all_unless_it_says_less_and_a_residual_mix_has_no_share(tmp_path: Path) -> None:
    header = "cluster,start_utc,end_utc,g_per_kwh,instrument,factor_type"
    path = written(tmp_path, f"a,{YEAR},20,GO,direct", f"a,{YEAR},600,residual mix,direct", header=header)
    assert [(row["instrument"], row["share_ratio"], row["note"]) for row in read(path)] == [
        ("GO", 1.0, None), ("residual mix", None, None),
    ]  # fmt: skip


def test_a_line_of_a_zone_is_told_for_each_of_its_clusters_by_the_clouds_zone_too(tmp_path: Path) -> None:
    path = written(tmp_path, f",DE,{YEAR},600,residual mix,,direct,", f",US,{YEAR},1,GO,,direct,")
    assert [(row["cluster"], row["zone"]) for row in told(path)] == [("a", "DE"), ("b", "DE"), ("cloudy", "DE")]


def test_a_file_without_lines_withdraws_and_no_file_says_nothing(tmp_path: Path) -> None:
    assert told(written(tmp_path)) == []
    assert "market_factors" not in declarations(settings(None), NOW)


def test_shares_may_add_up_to_one_and_follow_each_other(tmp_path: Path) -> None:
    first, second = (
        "2026-01-01T00:00Z,2026-02-01T00:00Z",
        "2026-02-01T00:00Z,2026-03-01T00:00Z",
    )
    lines = [f"a,,{span},0,{name},{share},direct," for span in (first, second) for name, share in
             (("PPA", 0.1), ("GO", 0.2), ("REC", 0.7))]  # fmt: skip
    assert len(read(written(tmp_path, *lines, f"a,,{first},1,residual mix,,direct,"))) == 7


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([f",,{YEAR},0,PPA,,direct,"], "line 2: say whose power it is: cluster or zone, one of both"),
        ([f"a,DE,{YEAR},0,PPA,,direct,"], "line 2: say whose power it is"),
        (["a,,2026-01-01,2027-01-01T00:00Z,0,PPA,,direct,"], "line 2: start_utc"),
        (["a,,2026-01-01T00:00Z,2026-01-01T00:03Z,0,PPA,,direct,"], "whole 5 minutes"),
        (["a,,2026-01-02T00:00Z,2026-01-01T00:00Z,0,PPA,,direct,"], "to a later one"),
        ([f"a,,{YEAR},0,,,direct,"], "line 2: instrument is empty"),
        ([f"a,,{YEAR},0,PPA,,location,"], "line 2: factor_type is one of lifecycle, direct, not 'location'"),
        ([f"a,,{YEAR},0,PPA,,,"], "factor_type is one of"),
        ([f"a,,{YEAR},,PPA,,direct,"], "line 2: g_per_kwh is empty"),
        ([f"a,,{YEAR},-3,PPA,,direct,"], "is not an intensity in g/kWh"),
        ([f"a,,{YEAR},0,PPA,40,direct,"], "share '40' is not a part of the energy"),
        ([f"a,,{YEAR},0,PPA,0,direct,"], "share '0' is not"),
        ([f"a,,{YEAR},0,PPA,40%,direct,"], "share '40%' is not"),
        ([f"a,,{YEAR},0,PPA,nan,direct,"], "share 'nan' is not"),
        ([f"a,,{YEAR},5,residual mix,0.5,direct,"], "leave its share empty"),
        ([f"a,,{YEAR},0,PPA,0.7,direct,", f"a,,{YEAR},5,GO,0.4,direct,"], "a has contracts for 110% of the energy"),
        ([f"a,,{YEAR},0,PPA,,direct,", f"a,,{YEAR},0,PPA,,direct,"], "line 3: the same line stands there twice"),
        ([f",DE,{YEAR},5,residual mix,,direct,", f",DE,{YEAR},6,residual mix,,direct,"], "DE has two residual mixes"),
        ([f"aa,,{YEAR},0,PPA,,direct,"], "no cluster 'aa' in the config: did you mean 'a'?"),
        ([f",DEE,{YEAR},0,PPA,,direct,"], "no line is of a zone of the config, which has DE, FR"),
        ([f"a,,{YEAR},0,PPA,,direct,", f",DE,{YEAR},5,residual mix,,lifecycle,"], "leave one factor type"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(tmp_path: Path, lines: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        declarations(settings(written(tmp_path, *lines)), NOW)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_zone_of_marginal_rates_is_the_declared_one_else_that_of_the_providers_table() -> None:
    def zones(marginal: dict[str, Any]) -> list[tuple[str, str]]:
        table = declarations(settings(None, marginal), NOW)["cluster_zones"]
        assert table.schema == CLUSTER_ZONES
        rows = table.to_pylist()
        assert {(row["signal"], row["provider"], row["factor_type"], row["fetched_utc"]) for row in rows} == {
            ("marginal", "watttime", "direct", NOW)
        }
        return [(row["cluster"], row["zone"]) for row in rows]

    assert zones({}) == [("c", "FR")]
    assert zones({"zones": {"a": "CAISO_NORTH"}}) == [("a", "CAISO_NORTH"), ("c", "FR")]
    assert zones({"zones": {"c": "FR_NORTH"}}) == [("c", "FR_NORTH")]
    with pytest.raises(ConfigError, match="no cluster 'x' in the config"):
        declarations(settings(None, {"zones": {"x": "DE"}}), NOW)
