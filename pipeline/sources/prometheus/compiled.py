"""What compiled functions share: how they are compiled, and how they tell what is wrong.

Nothing that is compiled reads or writes outside its arrays: positions are checked against the end of what they belong
to before each read. numba keeps what it compiled until the function's own file changes, so none calls one of another
file.
"""

# mypy: disable-error-code="no-any-return, no-untyped-call"

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import types

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined] # set from the environment
    raise ImportError("NUMBA_DISABLE_JIT is set")

F = TypeVar("F", bound=Callable[..., Any])


def _given(kind: types.Type) -> types.Type:
    return types.Array(kind, 1, "C", readonly=True)


BYTES, LONGS, WORDS = _given(types.uint8), _given(types.int64), _given(types.uint64)
INTO_BYTES, INTO_LONGS, INTO_WORDS = types.uint8[::1], types.int64[::1], types.uint64[::1]
INTO_ROWS = types.int64[:, ::1]


def compiled(*signature: types.Type, result: types.Type = types.int64) -> Callable[[F], F]:
    """Compile now, or take what an earlier process compiled."""
    return cast("Callable[[F], F]", numba.njit(result(*signature), cache=True, nogil=True))


RIGHT, TOO_LONG, ENDS_EARLY, TOO_WIDE, BEYOND, UNKNOWN_TYPE = range(6)
WORDING = (
    "",
    "a number of more than ten bytes",
    "a number or a chunk beyond the end",
    "a chunk with a value of more than 64 bits",
    "a field beyond the end of its message",
    "a field of no known type",
)
ONE, SEVEN = np.uint64(1), np.uint64(7)


def raised(code: int) -> None:
    """What a compiled function found wrong, if anything."""
    if code:
        raise ValueError(WORDING[code])
