"""A streamed answer cut into its frames: a varint of length, the CRC-32C in four bytes, the message.

Source: `storage/remote/chunked.go` of Prometheus.
"""

from typing import NamedTuple

import numpy as np

from pipeline.samples import Int64s
from pipeline.sources.prometheus.crc32c import SUM_BYTES, first_damaged
from pipeline.sources.prometheus.protobuf import MOST_VARINT_BYTES, Bytes

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


def read_frames(content: bytes) -> Frames:
    """The whole frames that `content` begins with; what follows them is the beginning of the next.

    Raises:
        DamagedError: a sum that is not its message's, or a length that cannot be.
    """
    heads, starts, ends = [], [], []
    at, size = 0, len(content)
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
        if length > MOST_FRAME_BYTES:
            raise DamagedError(f"a frame of {length} bytes")
        start += SUM_BYTES
        if start + length > size:
            break
        heads.append(at)
        starts.append(start)
        at = start + length
        ends.append(at)
    columns = (np.array(column, dtype=np.int64) for column in (heads, starts, ends))
    frames = Frames(np.frombuffer(content, dtype=np.uint8), *columns)
    damaged = first_damaged(frames.body, frames.starts, frames.ends, _sums(frames))
    if damaged is not None:
        raise DamagedError(f"a frame of {ends[damaged] - starts[damaged]} bytes whose CRC is wrong")
    return frames


def _sums(frames: Frames) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    places = frames.starts[:, None] + np.arange(-SUM_BYTES, 0)
    return np.ascontiguousarray(frames.body[places]).view(">u4").astype(np.uint32).reshape(-1)
