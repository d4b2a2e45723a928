"""Bytes changed at random until a decoder does what it must not: `python -m tests.faults.fuzz --minutes M [DECODER]`.

It must not raise what its caller does not expect, hang, take memory without bound, end the process, or disagree with
another way to read the same. What came of an input (its error, or nothing) tells inputs apart: one that shows something
new is changed further. What is found goes into the decoder's folder of the corpus, which the tests read. `guided` has
the same rules, and changes further what reached new code.
"""

import argparse
import faulthandler
import hashlib
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.faults.decoder import READ, Decoder
from tests.faults.decoders import CORPUS, DECODERS, seeds

MOST_SECONDS = 2.0  # for one input, of this process' own time
MOST_MEMORY_BYTES = 1 << 30  # above what it begins with
LONGEST = 8_192
MOST_KEPT = 400
PAGE = Path(__file__).with_name("fuzzed.md")
BLIND, GUIDED = "blind", "guided"
HEAD = """\
# Fuzzing

Written by `make fuzz`: the newest go at each decoder, blind (`fuzz.py`) or guided by the code that an input reaches
(`guided.py`). What is found goes into `corpus/`, and the tests read it.

| decoder | way | minutes of CPU time | inputs | of them sound | found |
|---|---|---|---|---|---|
"""
NUMBER = re.compile(r"\d+")  # which tells no faults apart
EDGES = b'\x00\x01\x7f\x80\xff\xfe@ "[]{,-\n'
WORDS = [
    b"null", b"NaN", b"Infinity", b"-Inf", b"1e999", b"-1", b"0", b"99999999999999999999", b"1e-400", b'""', b"[]",
    b"{}",
    b"\xff\xfe", b"\x00", b"\xe2\x80\xa8", b"\\ud800", b"2026-11-01T00:00:00Z", b"9999-12-31T23:59:59Z", b"true",
    b"<!--",
    b"\x80" * 9 + b"\x01", b"\xff" * 10, b"&amp;", b"]]}", b'"values":[[', b'"metric":{', b"0x10", b"1_0", b" ", b",",
    b"9" * 400, b"[" * 1500,
]  # fmt: skip


class TooSlowError(AssertionError):
    """An input took longer than any may."""


def mutated(chance: random.Random, pool: Sequence[bytes]) -> bytes:
    """One of the pool, changed in a few places."""
    content = bytearray(chance.choice(pool))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 8))):
        _change(chance, content, pool)
    return bytes(content[:LONGEST])


def _change(chance: random.Random, content: bytearray, pool: Sequence[bytes]) -> None:
    at = chance.randrange(len(content) + 1)
    end = min(len(content), at + chance.choice((1, 1, 2, 4, 8, 32, 128)))
    match chance.randrange(9):
        case 0 if at < len(content):
            content[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(content):
            content[at] = chance.choice(EDGES)
        case 2:
            del content[at:end]
        case 3:
            content[at:at] = content[at:end] * chance.choice((1, 1, 2, 30))
        case 4:
            content[at:end] = chance.choice(WORDS)
        case 5:
            content[at:at] = chance.choice(WORDS)
        case 6:
            other = chance.choice(pool)
            start = chance.randrange(len(other) + 1)
            content[at:end] = other[start : start + chance.choice((4, 16, 64, 512))]
        case 7:
            del content[at:]
        case _:
            content[at:end] = chance.randbytes(end - at)


@dataclass
class Fuzzing:
    """One decoder, its pool of inputs, and what was found.

    Attributes:
        way: BLIND or GUIDED, for the page.
        inputs: how many were tried.
        read: how many of them were read without an error.
        found: inputs that did what they must not, by what that was.
    """

    name: str
    seed: int
    way: str = BLIND
    inputs: int = 0
    read: int = 0
    found: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._decoder: Decoder = DECODERS[self.name]
        self._chance = random.Random(self.seed)  # noqa: S311 # no secret
        self._pool = list(seeds(self.name).values())
        self._shown: set[str] = set()

    def begin(self) -> None:
        """Try the corpus: what takes memory or time only once, as compiling, has happened then."""
        for content in seeds(self.name).values():
            self.once(content)

    def go_on(self, seconds: float) -> None:
        """Try inputs for so long, of this process' own time."""
        ends = time.process_time() + seconds
        while time.process_time() < ends:
            self.once(mutated(self._chance, self._pool))

    def once(self, content: bytes) -> None:
        """Try an input."""
        self.inputs += 1
        try:
            shown = timed(self._decoder, content)
        except Exception as error:  # noqa: BLE001 # that is what is looked for
            self.found.setdefault(NUMBER.sub("#", f"{type(error).__name__}: {str(error)[:200]}"), content)
            return
        self.read += shown == READ
        if shown not in self._shown and len(self._pool) < MOST_KEPT:
            self._shown.add(shown)
            self._pool.append(content)


def timed(decoder: Decoder, content: bytes) -> str:
    """What came of an input, if it came in time.

    Raises:
        TooSlowError: it did not.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooSlowError(f"{len(content)} bytes took more than {MOST_SECONDS} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    try:
        return decoder.survives(content)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def bound_memory() -> None:
    """From now on, what asks for much more memory than there is now gets a MemoryError."""
    used = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    limit = int(used.split()[1]) * 1024 + MOST_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def asked(description: str, decoders: Iterable[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="of CPU time for each decoder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", action="store_true", help=f"in {PAGE.name}")
    parser.add_argument("decoders", nargs="*", metavar="DECODER", help=f"of {', '.join(DECODERS)}")
    options = parser.parse_args()
    if unknown := set(options.decoders) - set(DECODERS):
        parser.error(f"no decoder: {', '.join(sorted(unknown))}")
    options.decoders = options.decoders or list(decoders)
    return options


def main() -> None:
    """Fuzz each decoder for so many minutes of CPU time and say what was found."""
    options = asked(__doc__, DECODERS)
    faulthandler.enable()
    fuzzings = [Fuzzing(name, options.seed) for name in options.decoders]
    for fuzzing in fuzzings:
        fuzzing.begin()
    bound_memory()
    for fuzzing in fuzzings:
        with suppress(KeyboardInterrupt):  # Ctrl-C goes on with the next
            fuzzing.go_on(60 * options.minutes)
        conclude(fuzzing, options)
    sys.exit(any(fuzzing.found for fuzzing in fuzzings))


def conclude(fuzzing: Fuzzing, options: argparse.Namespace) -> None:
    """Say what was found, and put it into the corpus."""
    counts = f"{fuzzing.inputs:,} inputs, {fuzzing.read:,} read, {len(fuzzing.found)} found"
    sys.stdout.write(f"{fuzzing.name}, {fuzzing.way}: {counts}\n")
    for what, content in fuzzing.found.items():
        path = kept(fuzzing.name, "found", content)
        sys.stdout.write(f"  {what}\n  in {path}\n")
    sys.stdout.flush()
    if options.note:
        note(fuzzing, options.minutes)


def kept(name: str, why: str, content: bytes) -> Path:
    """Put an input into the corpus of a decoder."""
    path = CORPUS / name / f"{why}-{hashlib.sha256(content).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def note(fuzzing: Fuzzing, minutes: float, page: Path = PAGE) -> None:
    """Put a go at a decoder into the page, in place of the one before in the same way."""
    lines = page.read_text(encoding="utf-8").removeprefix(HEAD).splitlines() if page.exists() else []
    rows = {tuple(line.split(" | ")[:2]): line for line in lines}
    counts = f"{minutes:g} | {fuzzing.inputs:,} | {fuzzing.read:,} | {len(fuzzing.found)}"
    rows[f"| {fuzzing.name}", fuzzing.way] = f"| {fuzzing.name} | {fuzzing.way} | {counts} |"
    order = [(f"| {name}", way) for name in DECODERS for way in (BLIND, GUIDED)]
    page.write_text(HEAD + "".join(f"{rows[key]}\n" for key in order if key in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
