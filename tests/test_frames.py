"""What `import pipeline` gives to notebooks and scripts: frames with units in their names, nulls as nulls."""

from datetime import date
from pathlib import Path

import pandas as pd
import polars
import pyarrow as pa
import pytest

import pipeline
from pipeline.errors import ConfigError
from pipeline.tables import EMISSIONS_DAILY, EMISSIONS_KEY, PROCESSES
from tests.queries import months
from tests.queries.months import FIRST, OCTOBER, SECOND


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("frames")
    months.fill(root)
    return root


def test_some_columns_of_one_cluster_and_span(root: Path) -> None:
    columns = ["emissions_gco2e", "hour_utc", "energy_joules"]
    frame = pipeline.read_emissions(root, FIRST, SECOND, columns=columns, cluster="prod-eu")
    assert list(frame.columns) == columns
    assert set(frame["hour_utc"]) == {pd.Timestamp(FIRST)}
    assert frame["emissions_gco2e"].sum() == pytest.approx(150 + 300 + 150 + 75 + 225 + 37.5)
    staged = pipeline.read_emissions(root, cluster="stage")
    assert staged["emissions_gco2e"].isna().tolist() == [True]  # and no 0
    assert len(pipeline.read_emissions(root)) == len(months.october()) + len(months.november()) + 1


def test_rows_come_in_the_order_of_their_key(root: Path) -> None:
    frame = pipeline.read_emissions(root)
    key = [name for name in EMISSIONS_KEY if name not in {"pod", "pod_uid", "container"}]
    assert frame[key].equals(frame[key].sort_values(key, kind="stable"))


def test_days_instead_of_hours(root: Path) -> None:
    frame = pipeline.read_emissions(root, end="2026-11-01T00:00Z", daily=True)
    assert list(frame.columns) == EMISSIONS_DAILY.names
    assert {stamp.date() for stamp in frame["date_utc"]} == {OCTOBER.date()}
    assert frame["emissions_gco2e"].sum() == pytest.approx(900)


def test_nodes_and_processes(root: Path) -> None:
    nodes = pipeline.read_node_energy(root, columns=["node", "metered_joules"], cluster="prod-eu")
    assert nodes.groupby("node")["metered_joules"].sum().to_dict() == {"n1": pytest.approx(38.7e6), "n2": 0.9e6}
    table = pipeline.read_table(root, "processes", "2026-11-01T01:00Z")
    assert isinstance(table, pa.Table)
    assert (table.schema, table.num_rows) == (PROCESSES, 2)


def test_arrow_goes_to_polars(root: Path) -> None:
    frame = polars.from_arrow(pipeline.read_table(root, "emissions", cluster="prod-eu"))
    assert isinstance(frame, polars.DataFrame)
    assert frame["emissions_gco2e"].sum() == pytest.approx(900 + 1725)
    assert frame["namespace"].null_count() == 7


def test_a_shipped_query_by_name_and_one_of_ones_own(root: Path) -> None:
    bill = pipeline.read_query(root, "chargeback", start=date(2026, 11, 1), price_per_kwh=0.5)
    assert bill.set_index("team").loc["green", "cost"] == pytest.approx(7.75 * 0.5)
    assert pipeline.read_query(root, "select count(*) as n from hours where state = $of", of="partial")["n"].item() == 1


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda root: pipeline.read_emissions(root, columns=["energy"]), "emissions has no column 'energy'"),
        (lambda root: pipeline.read_table(root, "hours"), "no rows of 'hours' are read by time"),
        (lambda root: pipeline.read_node_energy(root, "2026-11-01T00:00"), "has no time zone"),
        (lambda root: pipeline.read_query(root, "chargeback", stat="2026-11-01"), "did you mean 'start'"),
    ],
)
def test_what_cannot_be_read_is_said(root: Path, call: object, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        call(root)  # type: ignore[operator]
