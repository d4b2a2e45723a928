"""The locked dependencies, for `make check`: what the locks lack, and known vulnerabilities where somebody tells them.

The locks are read here and nothing else is needed. Vulnerabilities are pip-audit's to tell, where it is installed and
its service answers; that it did not is said and is no failure, so that `make check` gives the same without a network.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOCKS = {  # of which groups of pyproject.toml; "" is what the package needs
    "requirements.lock": ("",), "requirements-dev.lock": ("", "dev"), "requirements-build.lock": ("build",),
    "requirements-fuzz.lock": ("fuzz",),
}  # fmt: skip
ACCEPTED = Path(__file__).with_name("accepted_advisories.toml")
ENTRY = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+?)(?: ;[^\\]*)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
NAME = re.compile(r"[A-Za-z0-9._-]+")
SECONDS = 60


def wrong(lock: str, direct: set[str]) -> Iterator[str]:
    """What a lock's text lacks: an exact version and its SHA-256 for each package, and every direct dependency."""
    names: set[str] = set()
    is_hashed = True
    for number, line in enumerate(lock.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        entry = ENTRY.match(line)
        if entry is None and HASH.match(line) is None:
            yield f"line {number} is neither a package with its exact version nor a SHA-256: {line.strip()}"
        if entry is not None:
            if not is_hashed:
                yield f"line {number}: the package before it has no hash"
            names.add(entry[1])
        is_hashed = entry is None
    if not is_hashed:
        yield "the last package has no hash"
    yield from (f"{name} is a dependency and not locked" for name in sorted(direct - names))


def direct(project: Mapping[str, Any], groups: Iterable[str]) -> set[str]:
    """Names of the dependencies that pyproject.toml lists."""
    lists = {"": project["project"]["dependencies"]} | project["dependency-groups"]
    listed = [entry for group in groups for entry in lists[group]]
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in map(NAME.match, listed) if match}


def accepted() -> dict[str, str]:
    """Advisories that do not concern us, each with the reason."""
    table: dict[str, str] = tomllib.loads(ACCEPTED.read_text(encoding="utf-8")).get("accepted", {})
    return table


def advisories(lock: str) -> list[str] | None:
    """Known vulnerabilities of what is locked, accepted ones left out; None where not every package was looked up."""
    command = [sys.executable, "-m", "pip_audit", "-r", lock, "--require-hashes", "--disable-pip", "--format", "json"]
    command += ["--progress-spinner", "off", *(word for name in accepted() for word in ("--ignore-vuln", name))]
    try:
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS).stdout
        packages = json.loads(said)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return None
    if any("skip_reason" in one for one in packages):
        return None
    return [f"{one['name']} {one['version']}: {bug['id']}" for one in packages for bug in one.get("vulns", [])]


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = []
    for lock, groups in LOCKS.items():
        text = (ROOT / lock).read_text(encoding="utf-8")
        found += [f"{lock}: {what}" for what in wrong(text, direct(project, groups))]
        known = advisories(lock)
        if known is None:
            print(f"{lock}: pinned and hashed; NOT AUDITED: there is no pip-audit here, or its service does not answer")  # noqa: T201
        found += [f"{lock}: {what}" for what in known or []]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
