"""Of what guided fuzzing came upon, that which reaches more of our code than the corpus, small and few.

`python -m tests.faults.reached [DECODER]` puts it into the corpus. Code is counted in arcs: from a line of a call to
its next line or its end.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pipeline
from tests.faults.decoder import Decoder
from tests.faults.decoders import DECODERS, seeds
from tests.faults.fuzz import kept

INPUTS = Path(__file__).parents[2] / ".cache" / "fuzzed"  # a folder a decoder
MOST_KEPT = 100
LONGEST = 4_096
OURS = str(Path(pipeline.__file__).parent)
Arc = tuple[CodeType, int, int]


def arcs(decoder: Decoder, contents: Iterable[bytes]) -> set[Arc]:
    """What of our code reading them goes through."""
    found: set[Arc] = set()

    def enter(frame: FrameType, _event: str, _value: object) -> Any:  # noqa: ANN401 # as sys.settrace has it
        return _Call(found).went if frame.f_code.co_filename.startswith(OURS) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        for content in contents:
            decoder.survives(content)
    finally:
        sys.settrace(before)
    return found


class _Call:
    def __init__(self, found: set[Arc]) -> None:
        self._found, self._line = found, 0

    def went(self, frame: FrameType, _event: str, _value: object) -> Any:  # noqa: ANN401 # as sys.settrace has it
        self._found.add((frame.f_code, self._line, frame.f_lineno))
        self._line = frame.f_lineno
        return self.went


def picked(decoder: Decoder, known: set[Arc], contents: Iterable[bytes]) -> list[bytes]:
    """The inputs that go through most of what is not known, until nothing new is left."""
    left = {content: arcs(decoder, [content]) - known for content in contents if len(content) <= LONGEST}
    found: list[bytes] = []
    while left and len(found) < MOST_KEPT:
        best = max(left, key=lambda content: (len(left[content]), -len(content), content))
        new = left.pop(best)
        if not new:
            break
        found.append(best)
        left = {content: more for content, others in left.items() if (more := others - new)}
    return found


def main() -> None:
    """For each decoder: pick, keep and say so."""
    for name in sys.argv[1:] or sorted(path.name for path in INPUTS.glob("*")):
        decoder = DECODERS[name]
        known = arcs(decoder, seeds(name).values())
        more = picked(decoder, known, [path.read_bytes() for path in sorted((INPUTS / name).iterdir())])
        for content in more:
            kept(name, "reached", content)
        both = known | arcs(decoder, more)
        sys.stdout.write(f"{name}: {len(known)} arcs, {len(both)} with {len(more)} more inputs\n")


if __name__ == "__main__":
    main()
