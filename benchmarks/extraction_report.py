"""The table of extraction, as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

HEAD = """\
# Extraction

Written by `python -m benchmarks.extraction` (`--quick`: the first span only, prints and writes nothing; `--data FOLDER`
keeps the store). {versions}. Raw samples of one seeded store, 30 s apart, with pods that come and go and restarts,
read from the first request to the last sample, each time in a process of its own. Medians of three, taken in turns,
server and client on one machine of two shared cores: the ratios mean something, the seconds do not.

| span | samples | way | seconds | M samples/s | times curl | faster than the library | peak MB |
|---|---|---|---|---|---|---|---|
"""
TARGETS = """
Faster than the library: by time per sample; in spans that it was not asked for, against its rate in the first one.
Curl gets the bytes of remote read and does nothing with them. The transports yield arrays of samples and columns of
labels; nothing is folded here.
"""
LIBRARY, CURL = "prometheus-api-client + pandas", "curl"


def markdown(results: Sequence[tuple[Any, Mapping[str, Any]]], versions: Mapping[str, str]) -> str:
    """One line a span and way."""
    first = results[0][1][LIBRARY]
    library_seconds = first.seconds / first.samples
    lines = []
    for span, said in results:
        samples = next(iter(said.values())).samples
        for way, one in said.items():
            rate = "" if way == CURL else f"{samples / one.seconds / 1e6:.2f}"
            ratio = "" if way == CURL else f"{one.seconds / said[CURL].seconds:.2f}"
            faster = "" if way in (CURL, LIBRARY) else f"{library_seconds * samples / one.seconds:.1f}"
            memory = "" if way == CURL else f"{one.peak_mb:.0f}"
            lines.append(
                f"| {span.title} | {samples:,} | {way} | {one.seconds:.2f} | {rate} | {ratio} | {faster} | {memory} |"
            )
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return HEAD.format(versions=told) + "\n".join(lines) + "\n" + TARGETS
