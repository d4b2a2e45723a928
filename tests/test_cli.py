"""The commands as a user meets them: help, version, output on stdout, logs on stderr, exit codes, environment."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline import __version__
from pipeline.demo.fleet import churning, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.errors import SourceUnavailable, StoreFull
from pipeline.report import ClusterOutcome, RunReport
from pipeline.window import floor_hour
from tests.conftest import RealClock
from tests.product import Product

SECRET = "hunter2-s3cret"  # noqa: S105 # what must never be seen


@pytest.fixture(scope="module")
def end() -> datetime:
    return floor_hour(datetime.now(UTC) - timedelta(hours=1))


@pytest.fixture(scope="module")
def kepler(
    end: datetime, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    """A Prometheus with two recent hours of one node, which also takes remote writes."""
    fleet = simulate(churning(seed=6, start=end - timedelta(hours=2), hours=2, nodes=1, pods_per_node=2))
    data_dir = tmp_path_factory.mktemp("kepler") / "data"
    fill_blocks(fleet, prometheus_binary.promtool, data_dir)
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock, out_of_order="30d") as server:
        yield server


def test_a_first_run_its_repetition_and_a_dry_run(kepler: RunningServer, tmp_path: Path, end: datetime) -> None:
    product = Product(tmp_path, kepler.url)
    product.replace("[http]", f'[[remote_write]]\nname = "here"\nurl = "{kepler.url}/api/v1/write"\n[http]')
    hours = ("--start", f"{end - timedelta(hours=2):%FT%H:%MZ}", "--end", f"{end:%FT%H:%MZ}", "--json")

    dry = product.call("backfill", *hours, "--dry-run")
    assert (dry.code, dry.errors) == (0, [])
    assert product.published == {}
    assert json.loads(dry.out)["dry_run"] is True

    first = product.call("backfill", *hours)
    assert (first.code, first.errors) == (0, [])
    report = json.loads(first.out)
    (cluster,) = report["clusters"]
    assert (cluster["hours_rewritten"], cluster["states"]) == (2, {"complete": 2})
    assert cluster["emissions_gco2e"]["lifecycle"] > 0
    assert cluster["emissions_gco2e"] == json.loads(dry.out)["clusters"][0]["emissions_gco2e"]
    assert cluster["stores"][0]["samples_written"] > 0

    before = {name: text for name, text in product.published.items() if not name.startswith("hours/")}
    again = json.loads(product.call("backfill", *hours).out)["clusters"][0]
    assert (again["hours_rewritten"], again["hours_unchanged"]) == (0, 2)
    assert again["stores"][0]["samples_written"] == 0
    assert {name: text for name, text in product.published.items() if not name.startswith("hours/")} == before

    plain = product.call("backfill", *hours[:-1])
    assert re.search(r"^prod-eu: hours 2 complete; 0 rewritten, 2 unchanged", plain.out)
    assert "lifecycle: scope 2, location-based, plus upstream (scope 3.3)" in plain.out
    assert "meter boundary: CPU and DRAM; not PSU, disks, network, fans" in plain.out
    logs = [json.loads(line) for line in plain.err.splitlines()]
    assert [log["event"] for log in logs] == ["day committed"] * len(
        {(end - timedelta(hours=n)).date() for n in (1, 2)}
    )


def test_the_environment_overrides_the_file_and_secrets_stay_unseen(
    kepler: RunningServer, tmp_path: Path, end: datetime
) -> None:
    product = Product(tmp_path, "http://127.0.0.1:9")
    token = tmp_path / "token"
    token.write_text(f"{SECRET}-file\n")
    entry = f'[{{url = "{kepler.url}", username = "u", password_env = "PASSWORD"}}]'
    product.replace('prometheus_url = "http://127.0.0.1:9"', "")
    product.replace(
        "[http]",
        f'[[remote_write]]\nname = "here"\nurl = "{kepler.url}/api/v1/write"\nbearer_token_file = "{token}"\n[http]',
    )
    env = {
        "CARBON_ETL__CLUSTERS__PROD_EU__PROMETHEUS": entry,
        "CARBON_ETL__WAREHOUSE__PATH": str(tmp_path / "elsewhere"),
        "PASSWORD": f"{SECRET}-env",
    }
    hours = ("--start", f"{end - timedelta(hours=1):%FT%H:%MZ}", "--end", f"{end:%FT%H:%MZ}")
    outputs = []
    backfill = ("--verbose", "backfill", *hours, "--json")
    for command, code in ((("config", "check"), 0), (backfill, 0), (("doctor",), 65)):  # nothing in the last minutes
        said = product.call(*command, env=env)
        assert said.code == code, said
        outputs.append(said.out + said.err)
    outputs.append(product.call("run", env=env | {"CARBON_ETL__CLUSTERS__PROD_EU__PROMETHEUS": entry + "x"}).err)
    assert product.files == {}
    written = [path.read_bytes() for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]
    assert any(b"PAR1" in content for content in written)
    assert SECRET not in "".join(outputs)
    assert not [content for content in written if SECRET.encode() in content]


def test_sql_answers_as_a_table_and_reads_a_file(kepler: RunningServer, tmp_path: Path) -> None:
    product = Product(tmp_path, kepler.url)
    query = tmp_path / "mine.sql"
    query.write_text("select count(*) as rows from emissions")
    said = product.call("sql", str(query), "--warehouse", str(tmp_path / "nowhere"))
    assert (said.code, said.errors) == (0, [])
    assert "rows" in said.out
    assert "0" in said.out


def test_help_names_every_command_and_version_is_one_line(tmp_path: Path) -> None:
    product = Product(tmp_path, "http://127.0.0.1:9")
    said = product.call("--help")
    assert said.code == 0
    for command in ("run", "backfill", "reprice", "doctor", "settled", "sql", "config", "grid", "demo"):
        assert re.search(rf"\b{command}\b", said.out)
    assert product.call("--version").out == f"carbon-etl {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [("bakfill",), ("run", "--nope"), ("backfill",), ("sql",), ("run", "--workers", "0"), ("run", "--engine", "spark")],
)
def test_a_command_line_that_is_wrong_ends_with_2_and_no_traceback(arguments: tuple[str, ...], tmp_path: Path) -> None:
    said = Product(tmp_path, "http://127.0.0.1:9").call(*arguments)
    assert said.code == 2
    assert "Traceback" not in said.err
    assert said.out == ""


def test_config_check_says_what_it_read(tmp_path: Path) -> None:
    product = Product(tmp_path, "http://127.0.0.1:9")
    said = product.call("config", "check")
    assert (said.code, said.errors) == (0, [])
    assert said.out.splitlines() == [
        f"{product.config}: 1 clusters, 0 stores, nothing wrong",
        "✓ prod-eu: static: embedded yearly averages of DE",
    ]
    assert not product.warehouse.exists(), "a check writes nothing"


# --- exit codes of a report


def report(*outcomes: ClusterOutcome) -> RunReport:
    return RunReport("id", "run", datetime(2026, 11, 1, tzinfo=UTC), dry_run=False, clusters=list(outcomes))


def outcome(hours: int = 0, failure: str = "") -> ClusterOutcome:
    made = ClusterOutcome("c", "lifecycle", hours_rewritten=hours)
    made.failures += [failure] if failure else []
    return made


def test_a_report_without_errors_is_0() -> None:
    assert report(outcome(2)).exit_code == 0


def test_a_failure_after_nothing_worked_has_its_own_code() -> None:
    failed = report(outcome(failure="away"))
    failed.errors.append(SourceUnavailable("away"))
    assert failed.exit_code == 75


def test_a_failure_beside_work_that_was_done_is_69() -> None:
    mixed = report(outcome(2), outcome(failure="away"))
    mixed.errors.append(SourceUnavailable("away"))
    assert mixed.exit_code == 69


def test_a_store_that_failed_after_good_figures_keeps_its_own_code() -> None:
    late = report(outcome(2))
    late.errors.append(SourceUnavailable("away"))
    assert late.exit_code == 75


def test_a_full_disk_is_told_once_and_equal_errors_too_in_their_order() -> None:
    told = report()
    told.errors += [
        SourceUnavailable("a"),
        StoreFull("first"),
        SourceUnavailable("b"),
        SourceUnavailable("a"),
        StoreFull("2"),
    ]
    assert told.error_lines() == ["a", "first", "b"]
