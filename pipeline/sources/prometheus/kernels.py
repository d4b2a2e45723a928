"""The work on a stream's bytes: by numpy, or compiled where the extra `fast` is installed. Both give the same."""

from functools import cache
from typing import NamedTuple

from pipeline.sources.prometheus import chunk_blocks, crc32c, frames, protobuf, xor_chunks
from pipeline.sources.wording import line


class Kernels(NamedTuple):
    """What does it.

    Attributes:
        name: `numpy` or `numba`.
        reason: why this one.
        cut: as `frames.cut_frames`.
        lay: as `crc32c.lay`.
        fields: as `protobuf.fields`.
        decode: as `xor_chunks.decode`.
        keep: as `chunk_blocks.keep`.
    """

    name: str
    reason: str
    cut: frames.Cut
    lay: crc32c.Lay
    fields: protobuf.Walk
    decode: xor_chunks.Decoder
    keep: chunk_blocks.Keep


NUMPY = Kernels(
    "numpy", "as asked", frames.cut_frames, crc32c.lay, protobuf.fields, xor_chunks.decode, chunk_blocks.keep
)


@cache
def chosen() -> Kernels:
    """The compiled ones where they can be had at once; found out once a process, in a second where numba is installed.

    Where numba has no place to keep what it compiled (NUMBA_CACHE_DIR names one), each process would compile it again,
    for longer than numpy works on most answers: then numpy does.
    """
    try:
        from pipeline.sources.prometheus import compiled_frames, compiled_messages  # noqa: PLC0415 # numba takes a second
    except ModuleNotFoundError as error:
        missing = error.name or str(error)
        return NUMPY._replace(reason=f"{missing} is not installed: the extra fast brings it")
    except Exception as error:  # noqa: BLE001 # whatever is wrong with it, numpy is there
        return NUMPY._replace(reason=f"numba cannot be used: {line(str(error))}")
    return Kernels(
        "numba", "numba is installed", compiled_frames.cut_frames, compiled_frames.lay, compiled_messages.fields,
        compiled_messages.decode, compiled_messages.keep,
    )  # fmt: skip
