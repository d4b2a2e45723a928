"""As `fuzz`, guided by the code that an input reaches: `python -m tests.faults.guided --minutes M [DECODER]`.

Atheris marks our Python as it is imported, and libFuzzer changes further what reached something new. Not marked: what
numba compiled, which is held against numpy's, and other people's code. Without DECODER: those of a server's wire.
What reached something new is in INPUTS afterwards, where the next go begins, and from where `reached` takes its pick.
"""

import argparse
import operator
import os
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

try:
    import atheris
    from atheris.version_dependent import CMP_OP_SHIFT_AMOUNT
except ModuleNotFoundError:
    sys.exit("guided fuzzing needs atheris: `make fuzz` installs it where there is a wheel for the machine")

COMPILED = [f"pipeline.sources.prometheus.{name}" for name in ("compiled", "compiled_frames", "compiled_messages")]
with atheris.instrument_imports(include=["pipeline"], exclude=COMPILED):
    from tests.faults import fuzz
    from tests.faults.decoders import CORPUS, DECODERS, seeds
    from tests.faults.grid_readers import READERS
    from tests.faults.reached import INPUTS

WIRE = [name for name in DECODERS if name not in READERS]
PLAIN = (int, float, str, bytes)
COMPARED = (operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge)  # as `dis.cmp_op`
LONGEST_WORD = 64  # that libFuzzer knows
BOUND_ANEW = 1_000  # inputs: atheris itself takes some kilobytes for each and keeps them, gigabytes in ten minutes
MOST_SECONDS = 300  # of the clock for one input that never comes back from C, where no signal of ours is seen


def main() -> None:
    """Fuzz each decoder, in a process of its own, for libFuzzer never returns."""
    options = fuzz.asked(__doc__, WIRE)
    codes = []
    for name in options.decoders:
        process = get_context("spawn").Process(target=_go, args=(name, options))
        process.start()
        process.join()
        codes.append(process.exitcode)
    sys.exit(any(codes))


def _go(name: str, options: argparse.Namespace) -> None:
    atheris._trace_cmp = _compared(atheris._trace_cmp)
    fuzzing = fuzz.Fuzzing(name, options.seed, fuzz.GUIDED)
    fuzzing.begin()
    ends = time.process_time() + 60 * options.minutes

    def once(content: bytes) -> None:
        if not fuzzing.inputs % BOUND_ANEW:
            fuzz.bound_memory()
        fuzzing.once(content)
        if time.process_time() > ends:
            fuzz.conclude(fuzzing, options)
            os._exit(bool(fuzzing.found))

    folder = _begun(name)
    atheris.Setup(
        [
            name, f"-max_len={fuzz.LONGEST}", f"-seed={options.seed + 1}", f"-timeout={MOST_SECONDS}",
            "-rss_limit_mb=0", f"-artifact_prefix={CORPUS / name}/found-", "-use_value_profile=1", f"-dict={_words()}",
            str(folder),
        ],
        once,
    )  # fmt: skip
    atheris.Fuzz()


def _compared(traced: Callable[..., Any]) -> Callable[..., Any]:
    """As atheris compares and learns; but arrays as ever, for it never lets go of what comparing them gives."""

    def compared(left: object, right: object, how: int, *place: Any) -> Any:  # noqa: ANN401 # anything can be compared
        if isinstance(left, PLAIN) and isinstance(right, PLAIN):
            return traced(left, right, how, *place)
        return COMPARED[how >> CMP_OP_SHIFT_AMOUNT](left, right)

    return compared


def _begun(name: str) -> Path:
    """The folder of a decoder's inputs, the corpus among them."""
    folder = INPUTS / name
    for one in (folder, CORPUS / name):
        one.mkdir(parents=True, exist_ok=True)
    for file, content in seeds(name).items():
        (folder / file).write_bytes(content)
    return folder


def _words() -> Path:
    """The words as libFuzzer reads them."""
    path = INPUTS.with_suffix(".words")
    texts = ("".join(f"\\x{byte:02x}" for byte in word) for word in fuzz.WORDS if len(word) <= LONGEST_WORD)
    path.write_text("".join(f'"{text}"\n' for text in texts), encoding="ascii")
    return path


if __name__ == "__main__":
    main()
