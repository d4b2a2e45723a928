"""Files of a configuration's secrets that anybody on this machine can read."""

import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel

PUBLIC = "ca_file"
WITH_ITS_KEY = "cert_file"  # where no key_file is named


def exposed(settings: BaseModel) -> dict[Path, str]:
    """Mode of each file of a secret that everybody may read; files that are not there are somebody else's finding."""
    found = {}
    for path in sorted(set(_secret_files(settings))):
        with suppress(OSError):
            mode = path.stat().st_mode
            if mode & stat.S_IROTH:
                found[path] = f"{stat.S_IMODE(mode):04o}"
    return found


def _secret_files(part: object) -> Iterator[Path]:
    """Of every key that ends in `_file`, at any depth."""
    if isinstance(part, list | tuple):
        for item in part:
            yield from _secret_files(item)
    if not isinstance(part, BaseModel):
        return
    for name in type(part).model_fields:
        value = getattr(part, name)
        is_public = name == PUBLIC or (name == WITH_ITS_KEY and getattr(part, "key_file", None) is not None)
        if name.endswith("_file") and not is_public:
            yield from value.values() if isinstance(value, Mapping) else [value] if isinstance(value, Path) else []
        else:
            yield from _secret_files(value)
