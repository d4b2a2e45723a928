"""The readers of figures of the grid, as functions of bytes: answers of providers, and files of users."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError, SourceMalformed
from pipeline.settings import intensity as tables
from pipeline.sources.grid.contract import Ask, FactorType, Payload
from pipeline.sources.grid.csv_file import read as read_csv
from pipeline.sources.grid.eia import Eia
from pipeline.sources.grid.electricity_maps import ElectricityMaps
from pipeline.sources.grid.electricity_maps_csv import ElectricityMapsCsv
from pipeline.sources.grid.energinet import Energinet
from pipeline.sources.grid.entsoe import Entsoe
from pipeline.sources.grid.neso import Neso
from pipeline.sources.grid.rte import Rte
from pipeline.sources.grid.watttime import WattTime
from pipeline.window import Window
from tests.faults.decoder import Decoder
from tests.sinks.rows import StillClock
from tests.sources.grid.asking import ENV, FETCHED, HTTP, PAYLOADS, ask, came, utc


def _provider(reader: Any, files: str, asked: Ask, outlook: Ask | None = None) -> dict[str, Decoder]:  # noqa: ANN401 # any provider
    """The reader of a provider's answers, and that of its forecasts, where it has any."""
    recorded = tuple(sorted((PAYLOADS / files).glob("*.*")))

    def rows(parse: Callable[[Payload], pa.Table], asked: Ask) -> Callable[[bytes], object]:
        def read(content: bytes) -> object:
            for row in parse(came(asked, content)).to_pylist():
                value = row["carbon_intensity_g_per_kwh"]
                assert value is None or (math.isfinite(value) and value >= 0), row
            return None

        return read

    found = {files: Decoder(rows(reader.parse, asked), (SourceMalformed,), recorded)}
    if outlook is not None:
        found[f"{files}_forecast"] = Decoder(rows(reader.parse_forecast, outlook), (SourceMalformed,), recorded)
    return found


def _file(read: Callable[[Path], object], name: str) -> Callable[[bytes], object]:
    def from_bytes(content: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            return read(path)

    return from_bytes


def _portal(path: Path) -> object:
    window = Window(utc("01-01T00:00"), utc("12-01T00:00"))
    reader = ElectricityMapsCsv(tables.PortalTable.model_validate({"path": path}))
    return [reader.read("DE", window, factor_type, FETCHED) for factor_type in FACTOR_TYPES]


def _csv(path: Path) -> object:
    return read_csv(path, "lifecycle", FETCHED)


CLOCK = StillClock()
FACTOR_TYPES: tuple[FactorType, ...] = ("lifecycle", "direct")
KEY = {"token_env": "KEY"}
WATTTIME = {"username_env": "KEY", "password_env": "KEY"}
GERMANY = ask("DE", "10-30T00:00", "11-05T00:00", "lifecycle")
BRITAIN = ask("GB", "10-30T00:00", "11-01T00:00")
CALIFORNIA = replace(ask("CAISO_NORTH", "11-01T00:00", "11-05T00:00"), signal="marginal")
READERS: dict[str, Decoder] = {
    "csv_file": Decoder(_file(_csv, "grid.csv"), (ConfigError,)),
    "electricity_maps_csv": Decoder(
        _file(_portal, "DE_2026.csv"), (ConfigError,), tuple(sorted((PAYLOADS / "electricity_maps_csv").glob("*.csv")))
    ),
    **_provider(
        ElectricityMaps(tables.ElectricityMapsTable.model_validate({"token_env": "KEY"}), HTTP, ENV, CLOCK),
        "electricity_maps", GERMANY, GERMANY,
    ),
    **_provider(
        Energinet(tables.EnerginetTable(), HTTP, ENV, CLOCK),
        "energinet", ask("DK1", "10-25T00:00", "10-26T00:00"), ask("DK2", "11-01T00:00", "11-05T00:00"),
    ),
    **_provider(Neso(tables.NesoTable(), HTTP, ENV, CLOCK), "neso", BRITAIN, BRITAIN),
    **_provider(Rte(tables.RteTable(), HTTP, ENV, CLOCK), "rte", ask("FR", "11-01T22:00", "11-02T04:00")),
    **_provider(
        Eia(tables.EiaTable.model_validate(KEY), HTTP, ENV, CLOCK),
        "eia", ask("CISO", "11-01T00:00", "11-02T00:00", "lifecycle"),
    ),
    **_provider(
        Entsoe(tables.EntsoeTable.model_validate(KEY), HTTP, ENV, CLOCK),
        "entsoe", ask("10YFR-RTE------C", "11-01T00:00", "11-02T00:00", "lifecycle"),
    ),
    **_provider(
        WattTime(tables.WattTimeTable.model_validate(WATTTIME), HTTP, ENV, CLOCK), "watttime", CALIFORNIA, CALIFORNIA
    ),
}  # fmt: skip
