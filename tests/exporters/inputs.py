"""Whether what the real exporters prove has changed since they last proved it: `python -m tests.exporters.inputs`.

Building and driving them takes a quarter of an hour, so CI runs them again only where their inputs differ from those
noted in passed.txt. `make test-exporters` notes them after it passed; commit the note with the change.
"""

import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTE = Path(__file__).with_name("passed.txt")
INPUTS = (
    "pipeline/sources/meters/*.py", "pipeline/sources/prometheus/*.py", "pipeline/transforms/*.py",
    "pipeline/meters.py", "pipeline/samples.py", "pipeline/starts.py", "tests/exporters/*.py", "tests/exporters/*.c",
)  # fmt: skip


def digest(root: Path = ROOT) -> str:
    """SHA-256 over the names and bytes of everything that these tests exercise."""
    found = hashlib.sha256()
    for path in sorted(path for pattern in INPUTS for path in root.glob(pattern)):
        found.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return found.hexdigest()


def main(arguments: list[str]) -> int:
    """0 where nothing has changed since, 1 where they must be run; `--note` writes down that they passed."""
    now, noted = digest(), NOTE.read_text(encoding="utf-8").strip() if NOTE.exists() else ""
    if arguments == ["--note"]:
        NOTE.write_text(f"{now}\n", encoding="utf-8")
        return 0
    same = now == noted
    said = "not run again, what they exercise" if same else "to be run: what they exercise"
    sys.stdout.write(f"real exporters: {said} is {now[:12]}, passed last as {noted[:12] or 'nothing yet'}\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
