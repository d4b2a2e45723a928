"""Looks for secrets in whatever was written: clear, quoted, in base64, in hex, inside of parquet and its footers."""

import base64
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

import pyarrow.parquet as pq

SAMPLE_SECONDS = 0.02


def forms(secret: str) -> set[bytes]:
    """How a secret may be written; base64 of any text that holds it, wherever it begins."""
    found = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    encoded = {form.encode() for form in found} | {secret.encode().hex().encode()}
    for before in range(3):
        text = base64.b64encode(b"\0" * before + secret.encode())
        encoded.add(text[(before * 8 + 5) // 6 : len(text) // 4 * 4 - 4])  # without what its neighbours change
    return encoded | {form.replace(b"+", b"-").replace(b"/", b"_") for form in encoded}


def leaked(said: bytes, secrets: Iterable[str]) -> list[str]:
    """The secrets that stand in it."""
    return [secret for secret in secrets if any(form in said for form in forms(secret))]


def readable(path: Path) -> bytes:
    """All that a file says: its bytes, and of parquet its rows and its footers too."""
    said = path.read_bytes()
    if path.suffix == ".parquet":
        said += repr(pq.ParquetFile(path).read().to_pylist()).encode()
        said += repr(pq.read_metadata(path).metadata).encode() + repr(pq.read_schema(path)).encode()
    return said


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """Every command line of this machine that was seen meanwhile."""
    seen: set[bytes] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            for process in Path("/proc").iterdir():
                with suppress(OSError):  # it is none, or has just ended
                    if process.name.isdigit():
                        seen.add((process / "cmdline").read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()
