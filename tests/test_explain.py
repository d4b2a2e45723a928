"""`doctor --explain` walks one node-hour: a mixed fleet in a real Prometheus, by the command a user runs."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.demo.fleet import Fleet, mixed, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from tests.conftest import RealClock
from tests.product import Product

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
HOUR = "2026-11-01T08:00Z"


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return simulate(replace(mixed(seed=5, start=START, hours=2, pods_per_node=12), kepler_restarts=5))


@pytest.fixture(scope="module")
def server(
    fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    data_dir = tmp_path_factory.mktemp("explain") / "data"
    fill_blocks(fleet, prometheus_binary.promtool, data_dir)
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock) as running:
        yield running


@pytest.fixture(scope="module")
def product(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Product:
    return Product(tmp_path_factory.mktemp("explain-product"), server.url)


@pytest.fixture(scope="module")
def explained(product: Product) -> dict[str, str]:
    """What is said of each node, before anything was stored."""
    said = {}
    for node in ("node-1", "node-2", "node-3"):
        answer = product.call("doctor", "--explain", node, HOUR)
        assert (answer.code, answer.errors) == (0, []), answer.err
        said[node] = answer.out
    assert not product.warehouse.exists(), "an explanation writes nothing"
    return said


def test_it_says_which_meter_accounts_and_why(explained: dict[str, str]) -> None:
    lines = explained["node-1"].splitlines()
    assert lines[0] == "node-1 in cluster prod-eu, 2026-11-01T08:00Z to 2026-11-01T09:00Z"
    assert any(line.startswith("  Kepler 0.10 or newer: covers ") and line.endswith(": accounts") for line in lines)
    assert any(line.startswith("  Scaphandre: covers ") and line.endswith(": cross-check only") for line in lines)
    assert "  the first in the config, and no other covers more than 1 % of the hour more" in lines
    assert "  it is the only one" in explained["node-2"].splitlines()
    assert "meters of its gpu:" in explained["node-3"]


def test_it_shows_the_counters_on_both_sides_of_both_edges(explained: dict[str, str]) -> None:
    for node, counter in (("node-1", "active "), ("node-2", "sockets dynamic ")):
        edges = [line for line in explained[node].splitlines() if line.startswith("  counters at ")]
        assert len(edges) == 8, "two components"
        assert [line.split()[2][:3] for line in edges[:4]] == ["07:", "08:", "08:", "09:"]
        assert all(counter in line for line in edges)


def test_it_shows_restarts_and_what_was_bridged(explained: dict[str, str], fleet: Fleet) -> None:
    said = explained["node-1"]
    (line,) = {line for line in said.splitlines() if line.startswith("  exporter restarts: ")}
    assert line != "  exporter restarts: none"
    assert "  bridged at restarts 0.0 J" not in said


def test_it_balances_prices_and_names_every_candidate(explained: dict[str, str]) -> None:
    said = explained["node-1"]
    assert "package: metered " in said
    assert "  check: held" in said
    assert "workloads: " in said
    assert "the greatest 10:" in said
    assert len([line for line in said.splitlines() if line.startswith("  ") and " g" in line and "/" in line]) >= 10
    assert "intensity (lifecycle, in this order, estimated or better accepted at once):" in said
    assert "  static: " in said
    assert "zone DE" in said
    assert ": taken" in said
    assert "times PUE 1.2 (config), times intensity = " in said
    assert said.splitlines()[-1] == "warehouse: holds nothing of this node-hour"


def test_the_grams_are_those_of_the_warehouse_once_it_has_them(product: Product, explained: dict[str, str]) -> None:
    ran = product.call("backfill", "--start", HOUR, "--end", "2026-11-01T10:00Z")
    assert ran.code == 0, ran.out + ran.err
    said = product.call("doctor", "--explain", "node-1", HOUR).out
    *_, totals, energy, grams = said.splitlines()
    assert totals.startswith("warehouse: ")
    assert "revision 0" in totals
    assert (energy, grams) == ("  energy as above", "  grams as above")
    assert said.splitlines()[:-3] == explained["node-1"].splitlines()[:-1]


def test_a_changed_price_is_seen_beside_what_is_stored(product: Product, tmp_path: Path, server: RunningServer) -> None:
    product.call("backfill", "--start", HOUR, "--end", "2026-11-01T09:00Z")
    other = Product(tmp_path, server.url)
    other.replace(str(other.warehouse), str(product.warehouse))
    other.replace("pue = 1.2", "pue = 1.5")
    said = other.call("doctor", "--explain", "node-1", HOUR).out
    assert "  energy as above\n  grams not as above" in said


def test_a_pue_of_the_hours_own_is_asked_for_and_named(tmp_path: Path, server: RunningServer) -> None:
    product = Product(tmp_path, server.url)
    product.replace("pue = 1.2", 'pue = { query = "1 + hour(vector(time() - 1)) / 100" }')
    said = product.call("doctor", "--explain", "node-1", HOUR).out
    assert "times PUE 1.08 (query:1 + hour(vector(time() - 1)) / 100), times intensity = " in said
    assert not product.warehouse.exists(), "an explanation writes nothing"
    product.replace("1 + hour", "9 + hour")
    assert (
        "times PUE that is unknown, times intensity = unknown"
        in product.call("doctor", "--explain", "node-1", HOUR).out
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("node-9", HOUR), "node 'node-9' is read by no configured meter in 2026-11-01T08:00Z: did you mean 'node-"),
        (("node-1", "2026-11-01T08:00"), "has no time zone"),
        (("node-1", "2026-11-01T08:30Z"), "is not a whole UTC hour"),
        (("node-1", "2020-01-01T00:00Z"), "is read by no configured meter in 2020-01-01T00:00Z: no node at all is"),
    ],
)
def test_what_cannot_be_explained_is_one_line(product: Product, arguments: tuple[str, str], says: str) -> None:
    answer = product.call("doctor", "--explain", *arguments)
    assert answer.code == 2
    assert says in answer.only_error()


def test_of_several_clusters_one_must_be_named(product: Product, tmp_path: Path, server: RunningServer) -> None:
    two = Product(tmp_path, server.url)
    text = two.config.read_text()
    entry = text[text.index("[[clusters]]") : text.index("[http]")]
    two.config.write_text(text + "\n" + entry.replace("prod-eu", "prod-us"))
    assert "add --cluster, one of prod-eu, prod-us" in two.call("doctor", "--explain", "node-1", HOUR).only_error()
    assert two.call("doctor", "--cluster", "prod-us", "--explain", "node-1", HOUR).code == 0
