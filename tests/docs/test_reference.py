"""The documentation is held to the code, both ways: what exists is documented, what is documented exists."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import typer
import typer.main

import pipeline
from pipeline import config, credentials, errors, settings, tables
from pipeline.checks import check_energy, check_prices
from pipeline.cli import app
from pipeline.report import CHECK_FAILED, PARTIAL_FAILURE
from pipeline.settings.market import SCOPES
from pipeline.sinks.published_series import DISPLAY_SERIES, PROBE, REVISED_SERIES
from pipeline.sinks.run_numbers import RunNumbers, pipeline_series
from pipeline.sinks.signals import MACROS
from pipeline.sinks.sql import question, shipped_queries
from pipeline.sinks.teams import TABLE_MACROS
from pipeline.sinks.views import DERIVED
from pipeline.transforms.legacy_totals import PROBLEMS
from pipeline.transforms.selection import QUALITIES
from tests.docs.pages import ROOT, fenced, sections

TYPES = {
    "timestamp": tables.TIMESTAMP, "string": tables.TEXT, "double": tables.NUMBER, "int64": tables.COUNT,
    "list of double": tables.STEPS, "binary": pa.binary(),
}  # fmt: skip
INTERRUPTED = 130
Rows = list[list[str]]
REFERENCE = sections(ROOT / "docs" / "reference.md")


def table(heading: str, page: Mapping[str, str] = REFERENCE) -> Rows:
    """The cells of the one table under a heading, of the reference unless told, without its two head lines."""
    lines = [line for line in page[heading].splitlines() if line.startswith("|")]
    assert len(lines) > 2, f"no table under {heading!r}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def codes(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def first_codes(heading: str) -> list[str]:
    names = [codes(row[0]) for row in table(heading)]
    assert all(names), f"a row under {heading!r} names nothing"
    return [name[0] for name in names]


def commands() -> dict[str, list[Any]]:
    """Every command by its full name, with its parameters."""
    found: dict[str, list[Any]] = {}

    def walk(command: Any, name: str) -> None:  # noqa: ANN401 # typer's own copy of click has no stable type
        children = getattr(command, "commands", {})
        if command.params or not children:
            found[name] = command.params
        for child, inner in children.items():
            walk(inner, f"{name} {child}")

    walk(typer.main.get_command(app), "carbon-etl")
    return found


def test_every_command_is_documented_and_no_other() -> None:
    documented = {codes(heading)[0] for heading in REFERENCE if heading.startswith("`carbon-etl")}
    assert documented == set(commands())


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_option_is_documented_and_no_other(command: str) -> None:
    options = {name for p in commands()[command] if p.param_type_name == "option" for name in p.opts}
    documented = {name for row in table(f"`{command}`") for name in codes(row[0])}
    assert documented - {"--help"} == options


@pytest.mark.parametrize("command", sorted(commands()))
def test_the_defaults_of_options_are_the_programs(command: str) -> None:
    rows = {codes(row[0])[0]: row[1] for row in table(f"`{command}`")}
    for parameter in (p for p in commands()[command] if p.param_type_name == "option"):
        documented = rows[parameter.opts[0]]
        if parameter.required:
            assert documented == "required", parameter.name
        elif parameter.default is False:
            assert documented == "", parameter.name
        elif parameter.default is not None:
            assert codes(documented) == [str(parameter.default)], parameter.name
        else:
            assert documented in ("all", "none", "the config's"), parameter.name


def parts(model: type[credentials.Part], path: str) -> Iterator[tuple[str, type[credentials.Part]]]:
    """Every part of the configuration by its dotted path; a part that another inherits from is visited once."""
    yield path, model
    for name, field in model.model_fields.items():
        inner = config._part_of(field.annotation)
        if inner is not None and (path, name) != ("clusters", "intensity"):
            yield from parts(inner, f"{path}.{name}".lstrip("."))


def keys() -> dict[str, dict[str, Any]]:
    """Keys of each part and their fields; parts of the whole configuration are no keys."""
    return {path: dict(model.model_fields) for path, model in parts(settings.Settings, "") if path}


def config_headings() -> dict[str, str]:
    return {codes(h)[0].strip("[]"): h for h in REFERENCE if h.startswith("`[")}


def test_every_part_of_the_configuration_is_documented_and_no_other() -> None:
    assert set(config_headings()) == set(keys())


@pytest.mark.parametrize("part", sorted(keys()))
def test_every_config_key_is_documented_and_no_other(part: str) -> None:
    short_forms = {"prometheus_url"} if part == "clusters" else set()
    documented = first_codes(config_headings()[part])
    assert len(documented) == len(set(documented))
    assert set(documented) == set(keys()[part]) | short_forms


def shown(default: object) -> str:
    """A default as the configuration file would write it."""
    if isinstance(default, tuple):
        return "[" + ", ".join(shown(item) for item in default) + "]"
    if isinstance(default, timedelta):
        return f'"{default // timedelta(minutes=1)}m"'
    return f'"{default}"' if isinstance(default, str) else str(default)


@pytest.mark.parametrize("part", sorted(keys()))
def test_the_defaults_of_keys_are_the_programs(part: str) -> None:
    worked_out = {"remote_write.name", "remote_write.query_url", "clusters.intensity", "energy.ceiling_watts"}
    for row in table(config_headings()[part]):
        name = codes(row[0])[0]
        if name not in keys()[part] or f"{part}.{name}" in worked_out:
            continue
        field = keys()[part][name]
        if field.is_required():
            assert row[1] == "required", name
        elif field.default is None:
            assert row[1] in ("none", ""), name
        else:
            assert codes(row[1]) == [shown(field.default)], name


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_every_column_is_documented_with_its_type_and_no_other(name: str) -> None:
    documented = [(codes(row[0])[0], TYPES[row[1]]) for row in table(f"`{name}`")]
    assert documented == [(field.name, field.type) for field in tables.TABLES[name]]


def test_every_table_and_view_is_documented_and_no_other() -> None:
    start = list(REFERENCE).index("Tables")
    headings = [h for h in list(REFERENCE)[start + 1 : list(REFERENCE).index("Views")] if h.startswith("`")]
    assert {codes(h)[0] for h in headings} == set(tables.TABLES)
    derived = {name for name in DERIVED if "." not in name} - set(tables.TABLES)
    assert set(first_codes("Views")) == derived


def test_every_macro_is_documented_and_no_other() -> None:
    assert set(first_codes("Macros")) == set(MACROS | TABLE_MACROS)


def test_every_scope_is_named_in_the_methodology_as_the_program_names_it() -> None:
    named = table("13. Other totals over the same energy", sections(ROOT / "docs" / "methodology.md"))
    assert {(codes(row[0])[0], codes(row[1])[0]): row[3] for row in named} == SCOPES
    assert SCOPES["average", "direct"] in (ROOT / "dashboards" / "overview.json").read_text(encoding="utf-8")


def test_the_key_of_emissions_is_documented() -> None:
    unique = re.search(r"Unique in `([^`]+)`", REFERENCE["`emissions`"])
    assert unique is not None
    assert re.split(r",\s+", unique[1]) == list(tables.EMISSIONS_KEY)


def test_qualities_are_documented_best_first() -> None:
    assert tuple(codes(table("Words")[0][1])[: len(QUALITIES)]) == QUALITIES


def written_series() -> Mapping[str, set[str]]:
    """Every series the program writes, with its labels."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    numbers = RunNumbers(
        cluster="c", last_success_utc=now, run_seconds=1.0, rows=1, failed_checks={"x": True}, residual_joules=0.0,
        unpublished_hours=0,
    )  # fmt: skip
    own = {sample.metric: {name for name, _ in sample.labels} for sample in pipeline_series(numbers, now)}
    revised = {name: {*labels, "revision"} for name, labels in REVISED_SERIES.items()}
    return revised | {name: set(labels) for name, labels in DISPLAY_SERIES.items()} | own | {PROBE: {"run"}}


def test_every_series_is_documented_with_its_labels_and_no_other() -> None:
    assert {codes(row[0])[0]: set(codes(row[1])) for row in table("Series")} == written_series()


def error_classes() -> Iterator[type[errors.CarbonEtlError]]:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.CarbonEtlError):
            yield value


def test_every_error_is_documented_under_its_exit_code_and_no_other() -> None:
    documented = {int(row[0]): set(codes(row[2])) for row in table("Exit codes")}
    by_code: dict[int, set[str]] = {0: set(), CHECK_FAILED: set(), PARTIAL_FAILURE: set(), INTERRUPTED: set()}
    for error in error_classes():
        by_code.setdefault(error.exit_code, set()).add(error.__name__)
    assert documented == by_code


def test_every_check_is_documented_with_its_weight_and_no_other() -> None:
    found = [
        *check_energy(tables.NODE_ENERGY.empty_table(), []),
        *check_prices(tables.EMISSIONS.empty_table()),
    ]
    documented = {codes(row[0])[0]: {"yes": True, "no": False}[row[1]] for row in table("Checks")}
    assert documented == {check.name: check.required for check in found}


def test_every_known_fault_of_a_meter_is_documented_and_no_other() -> None:
    source = (ROOT / "pipeline" / "transforms" / "scaphandre_faults.py").read_text(encoding="utf-8")
    names = re.findall(r"\"(scaphandre_\w+)\"", source)
    assert set(first_codes("Known faults")) == {*names, *(f"kepler_legacy_{problem}" for problem in PROBLEMS)}


def test_every_query_is_documented_with_its_question_and_no_other() -> None:
    documented = {codes(row[0])[0].removesuffix(".sql"): row[1] for row in table("Queries")}
    assert documented == {name: question(text) for name, text in shipped_queries().items()}


def test_every_alert_is_documented_and_no_other() -> None:
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "queries").glob("*.rules.yml"))
    assert set(first_codes("Alerts")) == set(re.findall(r"- alert: (\w+)", rules))


def test_every_environment_variable_is_documented_and_no_other() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipeline").rglob("*.py"))
    read = set(re.findall(r"(?:env|environ)(?:\.get\(|\[)\"([A-Z][A-Z_]*)\"", source))
    read |= set(re.findall(r"envvar=\"([A-Z_]+)\"", source))
    assert {name.rstrip("…") for name in first_codes("Environment")} == read | {config.ENV_PREFIX}


def test_every_exported_function_is_documented_and_no_other() -> None:
    assert {name.partition("(")[0] for name in first_codes("Python")} == {f"pipeline.{n}" for n in pipeline.__all__}


def test_the_worked_numbers_of_the_methodology_are_right() -> None:
    """Every line `a op b ... = c` in a `worked` block is computed again."""
    blocks = fenced(ROOT / "docs" / "methodology.md", "worked")
    lines = [line for block in blocks for line in block.splitlines() if "=" in line]
    assert len(lines) >= 10
    for line in lines:
        left, right = line.rsplit("=", maxsplit=1)
        value = evaluate(left.rpartition(":")[2])
        number = right.replace(",", "").split()[0]
        digits = len(number.partition(".")[2])
        assert round(value, digits) == pytest.approx(float(number)), line


def evaluate(text: str) -> float:
    """A sum of products of plain numbers, units left out."""
    expression = re.sub(r"[A-Za-z%][\w/%]*", "", text.replace(",", "").replace(" x ", " * "))
    assert re.fullmatch(r"[\d\s.+\-*/()]+", expression), text
    return float(eval(expression))  # noqa: S307 # digits and operators only, by the line above


def test_the_version_of_files_is_the_one_that_is_written() -> None:
    assert f"`carbon_etl.schema_version`, now {tables.SCHEMA_VERSION};" in REFERENCE["Tables"]
