"""A streamed answer cut into its frames: a varint of length, the CRC-32C in four bytes, the message.

Source: `storage/remote/chunked.go` of Prometheus.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from pipeline.samples import Int64s
from pipeline.sources.prometheus.crc32c import SUM_BYTES, Lay, Sums, first_damaged
from pipeline.sources.prometheus.protobuf import MOST_VARINT_BYTES, Bytes, windows

MOST_FRAME_BYTES = 50_000_000  # as Prometheus' own client; its servers cut at about 1 MB


class DamagedError(Exception):
    """Bytes that did not arrive as they were sent: asking again may help."""


class Frames(NamedTuple):
    """Whole frames whose sums are right.

    Attributes:
        body: the bytes they lie in.
        heads: where each frame begins, its length included.
        starts: where its message begins.
        ends: the byte after it.
    """

    body: Bytes
    heads: Int64s
    starts: Int64s
    ends: Int64s


Cut: TypeAlias = Callable[[Bytes, int], tuple[Int64s, Int64s, Int64s]]


def read_frames(content: bytes, cut: Cut, lay: Lay) -> Frames:
    """The whole frames that `content` begins with; what follows them is the beginning of the next.

    Args:
        content: a piece of an answer.
        cut: as `cut_frames`.
        lay: as `crc32c.lay`.

    Raises:
        DamagedError: a sum that is not its message's, or a length that cannot be.
    """
    body = np.frombuffer(content, dtype=np.uint8)
    frames = Frames(body, *cut(body, MOST_FRAME_BYTES))
    damaged = first_damaged(frames.body, frames.starts, frames.ends, _sums(frames), lay)
    if damaged is not None:
        raise DamagedError(f"a frame of {frames.ends[damaged] - frames.starts[damaged]} bytes whose CRC is wrong")
    return frames


def cut_frames(body: Bytes, most_bytes: int) -> tuple[Int64s, Int64s, Int64s]:
    """Where whole frames begin, and where their messages begin and end.

    Raises:
        DamagedError: a message of more than `most_bytes`.
    """
    heads, starts, ends = [], [], []
    content, at, size = body.data, 0, len(body)
    while at < size:
        length, start = content[at], at + 1
        if length > 127:
            shift, length = 7, length & 127
            while start < size:
                byte = content[start]
                start += 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128 or shift >= 7 * MOST_VARINT_BYTES:
                    break
            else:
                break
        if length > most_bytes:
            raise DamagedError(f"a frame of {length} bytes")
        start += SUM_BYTES
        if start + length > size:
            break
        heads.append(at)
        starts.append(start)
        at = start + length
        ends.append(at)
    return np.array(heads, dtype=np.int64), np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64)


def _sums(frames: Frames) -> Sums:
    return windows(frames.body, frames.starts - SUM_BYTES, SUM_BYTES).view(">u4").astype(np.uint32).reshape(-1)
