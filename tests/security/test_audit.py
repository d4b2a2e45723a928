"""The audit of `make check`: the locks are whole, and a lock that is not is found out."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.security import audit
from tests.security.audit import LOCKS, ROOT, accepted, advisories, direct, wrong

HASH = "    --hash=sha256:" + "0" * 64
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("lock", "groups"), LOCKS.items())
def test_every_package_is_locked_by_version_and_hash(lock: str, groups: tuple[str, ...]) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert list(wrong(text, direct(PROJECT, groups))) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"httpx==0.28.1 \\\n{HASH}\n", ""),
        (f"httpx==0.28.1 ; python_full_version < '3.12' \\\n{HASH} \\\n{HASH}\n", ""),
        (f"httpx>=0.28 \\\n{HASH}\n", "neither a package with its exact version"),
        ("httpx==0.28.1\n", "neither a package with its exact version"),
        ("httpx==0.28.1 \\\n", "the last package has no hash"),
        (f"httpx==0.28.1 \\\nhttpcore==1 \\\n{HASH}\n", "the package before it has no hash"),
        (f"httpx==0.28.1 \\\n    --hash=md5:{'0' * 32}\n", "nor a SHA-256"),
        (f"httpx @ https://example.org/httpx.whl \\\n{HASH}\n", "neither a package"),
        (f"--index-url https://example.org\nhttpx==0.28.1 \\\n{HASH}\n", "neither a package"),
        (f"httpcore==1 \\\n{HASH}\n", "httpx is a dependency and not locked"),
    ],
)
def test_a_lock_that_lets_something_else_in_is_found_out(text: str, says: str) -> None:
    assert says in "; ".join(wrong(text, {"httpx"}))
    assert bool(says) == bool(list(wrong(text, {"httpx"})))


def test_every_accepted_advisory_has_its_reason() -> None:
    assert all(len(reason) > 20 for reason in accepted().values())


TOLD = {"dependencies": [{"name": "x", "version": "1", "vulns": [{"id": "GHSA-1"}]}, {"name": "y", "version": "2"}]}


@pytest.mark.parametrize(
    ("says", "known"),
    [
        (f"print({json.dumps(json.dumps(TOLD))})", ["x 1: GHSA-1"]),
        ("print('{\"dependencies\": []}')", []),
        ("import sys; sys.exit('no route to host')", None),
        ("print('oops')", None),
    ],
)
def test_what_pip_audit_tells_is_told_and_its_silence_is_no_failure(
    says: str, known: list[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of its name answers as it documents."""
    (tmp_path / "pip_audit.py").write_text(says)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert advisories("requirements.lock") == known


def test_a_vulnerability_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "advisories", lambda _lock: ["x 1: GHSA-1"])
    with pytest.raises(SystemExit, match="GHSA-1"):
        audit.main()


def test_the_check_runs_the_audit() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    check, locks = (makefile.partition(f"\n{name}:")[2].partition("\n\n")[0] for name in ("check", "locks"))
    assert re.search(r"\$\(MAKE\) .*\blocks\b", check)
    assert "$(BIN)/python -m tests.security.audit" in locks
