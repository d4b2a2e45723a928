"""Whether what a costly suite proves has changed since it last passed: `python -m tests.passed SUITE`.

CI runs such a suite again only where its inputs differ from those noted beside it in passed.txt. Its make target notes
them after it passed (`--note`); commit the note with the change.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
INPUTS: dict[str, tuple[str, ...]] = {
    "exporters": (
        "pipeline/sources/meters/*.py", "pipeline/sources/prometheus/*.py", "pipeline/transforms/*.py",
        "pipeline/meters.py", "pipeline/samples.py", "pipeline/starts.py", "tests/exporters/*.py",
        "tests/exporters/*.c",
    ),
    "dags": ("deploy/airflow/*", "pipeline/airflow/*.py", "pipeline/tasks.py", "tests/dags/*.py"),
    "delta": (
        "pipeline/sinks/delta/*.py", "pipeline/sinks/opening.py", "pipeline/sinks/changed_tables.py",
        "pipeline/sinks/warehouse.py", "tests/delta/*.py",
    ),
    "workers": (
        "pipeline/engines/*.py", "tests/workers/*.py",
        *(f"pipeline/{module}.py" for module in ("ahead", "day", "job", "run", "tasks", "terminal", "cli_run")),
    ),
    "faults": (
        "pipeline/sinks/**/*.py", "pipeline/sources/**/*.py", "pipeline/engines/*.py", "pipeline/tables/*.py",
        "pipeline/refresh/*.py",
        *(f"pipeline/{module}.py" for module in (
            "ahead", "closed", "day", "fuse", "job", "occasions", "plan", "prices", "publication", "reprice", "run",
            "site", "extraction",
        )),
        "tests/faults/*.py", "tests/faults/corpus/**/*",
    ),
}  # fmt: skip


def digest(inputs: Sequence[str], root: Path = ROOT) -> str:
    """SHA-256 over the names and bytes of everything that a suite exercises."""
    found = hashlib.sha256()
    for path in sorted({path for pattern in inputs for path in root.glob(pattern) if path.is_file()}):
        found.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return found.hexdigest()


def main(arguments: Sequence[str]) -> int:
    """0 where nothing has changed since, 1 where the suite must be run; `--note` writes down that it passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=INPUTS)
    parser.add_argument("--note", action="store_true", help="it has passed with what is here now")
    options = parser.parse_args(arguments)
    note, now = ROOT / "tests" / options.suite / "passed.txt", digest(INPUTS[options.suite])
    if options.note:
        note.write_text(f"{now}\n", encoding="utf-8")
        return 0
    noted = note.read_text(encoding="utf-8").strip() if note.exists() else ""
    same = now == noted
    said = "not run again, what they exercise" if same else "to be run: what they exercise"
    sys.stdout.write(f"{options.suite}: {said} is {now[:12]}, passed last as {noted[:12] or 'nothing yet'}\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
