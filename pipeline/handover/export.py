"""`carbon-etl dashboards export`: files in a folder of somebody else's, of which only our own are ever replaced."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import ConfigError, StoreUnwritable

MANIFEST = "carbon-etl.manifest.json"  # what we wrote, by path, with the digest of what it was


@dataclass
class Exported:
    """What became of each file, by its path in the tree."""

    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def lines(self, folder: Path) -> list[str]:
        """For people."""
        said = [f"wrote {folder / path}" for path in self.written] + [f"removed {folder / p}" for p in self.removed]
        return [*said, f"{folder}: {len(self.written)} written, {len(self.unchanged)} as they were"]


def export(folder: Path, files: Mapping[str, str], *, force: bool) -> Exported:
    """Write the tree; what an earlier export wrote and this one does not hold is removed.

    Args:
        folder: made if it is not there.
        files: text by path in it.
        force: also replace files that are not ours, or were changed since.

    Raises:
        ConfigError: a file is somebody else's; nothing was written.
        StoreUnwritable: the folder refuses.
    """
    ours = _manifest(folder)
    foreign = [path for path, text in files.items() if _is_foreign(folder / path, text, ours.get(path))]
    if foreign and not force:
        raise ConfigError(
            f"{', '.join(str(folder / path) for path in foreign)}: not as carbon-etl wrote it; move it away, "
            "export into another folder, or replace it with --force"
        )
    done = Exported()
    try:
        for path, text in files.items():
            target = folder / path
            if _text(target) == text:
                done.unchanged.append(path)
            else:
                _replace(target, text)
                done.written.append(path)
        for path in sorted(ours.keys() - files.keys()):
            if _digest(_text(folder / path)) == ours[path]:
                (folder / path).unlink()
                done.removed.append(path)
        written = {path: _digest(text) for path, text in files.items()}
        _replace(folder / MANIFEST, json.dumps(written, indent=2, sort_keys=True) + "\n")
    except OSError as error:
        raise StoreUnwritable(f"cannot write {error.filename or folder}: {error.strerror}") from error
    return done


def _is_foreign(path: Path, text: str, digest: str | None) -> bool:
    there = _text(path)
    return there not in (None, text) and _digest(there) != digest


def _manifest(folder: Path) -> dict[str, str]:
    """Digests of what an earlier export wrote.

    Raises:
        ConfigError: a manifest that we cannot have written.
    """
    there = _text(folder / MANIFEST)
    if there is None:
        return {}
    try:
        found = json.loads(there)
    except ValueError:
        found = None
    if isinstance(found, dict) and all(isinstance(v, str) and _is_inside(path) for path, v in found.items()):
        return found
    raise ConfigError(f"{folder / MANIFEST} is not as carbon-etl wrote it: remove it, or export into another folder")


def _is_inside(path: str) -> bool:
    return not Path(path).is_absolute() and ".." not in Path(path).parts


def _text(path: Path) -> str | None:
    """What a file holds, unreadable bytes marked; None where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_bytes().decode(errors="backslashreplace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def _digest(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


def _replace(path: Path, text: str) -> None:
    """The whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(text, encoding="utf-8", newline="\n")
    os.replace(aside, path)  # noqa: PTH105
