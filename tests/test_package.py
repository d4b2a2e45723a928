"""What is shipped: light to import, whole as a wheel, and guarded by rules that really fail."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from pipeline import __version__

ROOT = Path(__file__).parents[1]
WATCH = """
import json, sys
sys.argv = ["carbon-etl", *{arguments}]
touched = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.mkdir", "os.rename"):
        touched.append([event, repr(arguments)])
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        touched.append([event, repr(arguments)])
sys.addaudithook(watch)
try:
    {statement}
except SystemExit as end:
    assert not end.code, end.code
print("@" + json.dumps([sorted(sys.modules), touched]))
"""


def _watched(statement: str, *arguments: str) -> tuple[list[str], list[list[str]]]:
    """Modules loaded and effects on the world of one statement in a fresh interpreter."""
    program = WATCH.format(arguments=list(arguments), statement=statement)
    done = subprocess.run([sys.executable, "-B", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules, touched = json.loads(done.stdout.rpartition("@")[2])
    return modules, touched


def test_importing_the_package_loads_nothing_heavy_and_touches_nothing() -> None:
    modules, touched = _watched("import pipeline; pipeline.__version__")
    assert touched == []
    assert {name.partition(".")[0] for name in modules} & {
        "duckdb",
        "pandas",
        "pyarrow",
        "numpy",
        "requests",
        "httpx",
    } == set()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["run", "--help"], ["sql", "--help"], ["grid", "fetch", "--help"]]
)
def test_help_loads_no_engine_and_touches_nothing(arguments: list[str]) -> None:
    modules, touched = _watched('import runpy; runpy.run_module("pipeline", run_name="__main__")', *arguments)
    assert touched == []
    loaded = {name.partition(".")[0] for name in modules}
    assert loaded & {"duckdb", "pandas", "prometheus_api_client", "requests", "httpx"} == set()
    assert "typer" in loaded


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what git would ship."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pipeline", "queries", "dashboards"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a fresh environment that borrows our dependencies, but not our checkout; its `bin` folder."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    command = [
        sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-deps",
        "--no-index", "--disable-pip-version-check", str(wheel),
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # a plain path entry runs no .pth of the borrowed folder, so an editable install of the checkout stays out
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def _run(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
    return subprocess.run([str(program), *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_the_installed_command_tells_its_version(installed: Path, tmp_path: Path) -> None:
    done = _run(installed / "carbon-etl", "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"carbon-etl {__version__}\n", "")


def test_the_installed_command_answers_on_an_empty_warehouse(installed: Path, tmp_path: Path) -> None:
    done = _run(
        installed / "carbon-etl", "sql", "select count(*) as n from emissions", "--warehouse", "w", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[0] == "n"
    assert done.stdout.split()[-1] == "0"


def test_queries_dashboards_tables_and_types_come_with_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = """
import pipeline
from pathlib import Path
from pipeline.sinks.sql import shipped_queries
from pipeline.sources.grid import yearly
home = Path(pipeline.__file__).parents[1]
print(home)
print(len(shipped_queries()), (home / "dashboards" / "overview.json").is_file(), yearly.code_of("DE"))
print(sorted(path.name for path in (home / "queries").glob("*.rules.yml")))
"""
    done = _run(installed / "python", "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    home, found, rules = done.stdout.splitlines()
    assert home.startswith(str(installed.parent)), "not the checkout"
    count = len(list((ROOT / "queries").glob("*.sql")))
    assert found == f"{count} True ('DE', 'yearly_zone')"
    assert count > 3
    assert rules == str(sorted(path.name for path in (ROOT / "queries").glob("*.rules.yml")))


def test_every_shipped_query_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = """
from pathlib import Path
from pipeline.sinks.sql import run_query, shipped_queries
for text in shipped_queries().values():
    assert run_query(Path("w"), text).num_rows == 0
"""
    done = _run(installed / "python", "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


# --- the rules of the house fail when they are broken


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package to break."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _inject(copy: Path, module: str, line: str) -> None:
    path = copy / "pipeline" / module
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")


def _ruff(copy: Path) -> str:
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--select",
        "TID251",
        "--output-format",
        "concise",
        ".",
    ]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(
    ("module", "line", "says"),
    [
        ("run.py", "import prometheus_api_client", "only pipeline/sources/prometheus/api_client.py talks to it"),
        ("doctor.py", "from prometheus_api_client import PrometheusConnect", "`prometheus_api_client` is banned"),
        ("run.py", "from datetime import datetime as d\nd.now()", "only pipeline/cli.py reads the clock"),
        ("transforms/energy.py", "import time\ntime.time()", "only pipeline/cli.py reads the clock"),
    ],
)
def test_a_banned_name_is_refused(module: str, line: str, says: str, copy: Path) -> None:
    assert "TID251" not in _ruff(copy)
    _inject(copy, module, line)
    said = _ruff(copy)
    assert says in said
    assert f"{module}:" in said


def _layers(copy: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    env = os.environ | {"PYTHONPATH": str(copy), "NO_COLOR": "1"}
    return subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)


def test_the_layers_hold_and_a_step_back_or_io_in_a_transform_is_refused(copy: Path) -> None:
    assert _layers(copy).returncode == 0, _layers(copy).stdout
    for module, line, broken in (
        ("sources/presence.py", "import pipeline.sinks.locks", "Flow goes one way"),
        ("window.py", "import pipeline.run", "Flow goes one way"),
        ("transforms/series.py", "import httpx", "Transforms do no I/O"),
    ):
        before = (copy / "pipeline" / module).read_text(encoding="utf-8")
        _inject(copy, module, line)
        done = _layers(copy)
        assert done.returncode == 1
        assert re.search(rf"^{broken}[^:]*(: [^:]*)?BROKEN$", done.stdout, re.MULTILINE), done.stdout
        (copy / "pipeline" / module).write_text(before, encoding="utf-8")
