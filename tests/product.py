"""The real command as a user runs it: a process of its own, a config file, and what it said."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.forks import ROOT, Asked, forks

CONFIG = """\
[warehouse]
path = "{warehouse}"

[[clusters]]
name = "prod-eu"
prometheus_url = "{url}"
grid_zone = "DE"
pue = 1.2

[http]
timeout_seconds = 10
retry_seconds = 0
"""

SECONDS = 120.0  # that a command may take
READ_BY_PYTHON = ("PYTHON", "LANG", "LC_")  # before the first line of the product
DEFAULT_INSTALL = {"PYTHONPATH": str(ROOT / "benchmarks" / "default_install")}  # without the extra `fast`, as most are


@dataclass(frozen=True)
class Said:
    """What one command left: exit code, output, and stderr's lines that are not logs."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """Lines of stderr, logs (JSON lines) left out."""
        return [line for line in self.err.splitlines() if line.strip() and not line.startswith("{")]

    def only_error(self) -> str:
        """The one line a failure may say."""
        assert "Traceback" not in self.out + self.err, self.err
        assert len(self.errors) == 1, self.errors
        assert self.errors[0].startswith("error: "), self.errors
        assert "unexpected" not in self.errors[0], self.errors
        return self.errors[0]


def bare() -> dict[str, str]:
    """The environment of every call."""
    return DEFAULT_INSTALL | {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}


def apart(program: str, *arguments: str) -> Said:
    """What `python -m program` says, in a process of its own: forked, see tests/forks.py."""
    ended = forks(*bare().items()).end(Asked(arguments, bare(), 0o022, SECONDS, program))
    assert ended is not None, "one at a time"
    return Said(ended.code, ended.out, ended.err)


class Product:
    """`python -m pipeline` with a config of its own in a folder of its own."""

    def __init__(self, folder: Path, url: str, text: str = CONFIG) -> None:
        self.folder = folder
        self.warehouse = folder / "warehouse"
        self.config = folder / "carbon-etl.toml"
        self.config.write_text(text.format(warehouse=self.warehouse, url=url), encoding="utf-8")

    def replace(self, old: str, new: str) -> None:
        """Change the config."""
        text = self.config.read_text(encoding="utf-8")
        assert old in text
        self.config.write_text(text.replace(old, new), encoding="utf-8")

    def call(
        self, *arguments: str, env: Mapping[str, str] | None = None, through: Sequence[str] = (), anew: bool = False
    ) -> Said:
        """Run one command to its end.

        Args:
            *arguments: of `python -m pipeline`.
            env: further variables.
            through: the command line that starts it.
            anew: start it as a user does, where its start is what is tested; else it is forked: see tests/forks.py.
        """
        whole = self.bare | {"CARBON_ETL_CONFIG": str(self.config)} | dict(env or {})
        if not anew and not through and not any(name.startswith(READ_BY_PYTHON) for name in env or {}):
            os.umask(umask := os.umask(0o077))
            ended = forks(*self.bare.items()).end(Asked(arguments, whole, umask, SECONDS))
            if ended is not None:
                return Said(ended.code, ended.out, ended.err)
        command = [*through, sys.executable, "-m", "pipeline", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=whole, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        return Said(done.returncode, done.stdout, done.stderr)

    @property
    def bare(self) -> dict[str, str]:
        """The environment of every call."""
        return bare()

    @property
    def files(self) -> dict[str, bytes]:
        """Every file of the warehouse that a reader sees, with its content."""
        return {
            str(path.relative_to(self.warehouse)): path.read_bytes()
            for path in sorted(self.warehouse.rglob("*"))
            if path.is_file() and ".locks" not in path.parts
        }

    @property
    def published(self) -> dict[str, bytes]:
        """Files of the tables that hold figures."""
        tables = ("emissions/", "node_energy/", "hours/", "revisions/")
        return {name: content for name, content in self.files.items() if name.startswith(tables)}
