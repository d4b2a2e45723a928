"""Everything that reads bytes of others, as one function of bytes: what it may raise, and what it is held against.

Where two of ours read the same (numpy and compiled code, a quick way and a plain one), both must give the same.
"""

import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from urllib3.exceptions import ProtocolError

from pipeline.samples import Block, Int64s
from pipeline.sources.prometheus import matrix_json
from pipeline.sources.prometheus.chunk_stream import ChunkStream, Given
from pipeline.sources.prometheus.chunked_body import Chunked
from pipeline.sources.prometheus.export_lines import Lines, _parsed, blocks_of, read_lines
from pipeline.sources.prometheus.frames import DamagedError, read_frames
from pipeline.sources.prometheus.kernels import NUMPY, Kernels, chosen
from pipeline.sources.prometheus.protobuf import Bytes
from pipeline.sources.prometheus.raw_blocks import MALFORMED
from pipeline.sources.prometheus.remote_read import PLAIN
from tests.faults.decoder import Decoder, DisagreementError
from tests.faults.grid_readers import READERS
from tests.sources.prometheus.chunk_writer import crc32c, varint

CORPUS = Path(__file__).parent / "corpus"
EVER_MS = (-(1 << 62), 1 << 62)
CRC_32C = [crc32c(bytes([byte])) ^ crc32c(b"\0") for byte in range(256)]  # bytewise: the sum is affine
STREAMED = (DamagedError, ValueError, IndexError, OverflowError)  # what RemoteRead turns into a line


def _both(read: Callable[[Any], Any], same: Callable[[Any, Any], bool], allowed: tuple[type[Exception], ...]) -> Any:  # noqa: ANN401 # as `read`
    """What `read` gives with numpy and with compiled code, or the error of both."""
    results: list[Any] = []
    for kernels in dict.fromkeys((NUMPY.name, chosen().name)):
        try:
            results.append(read(NUMPY if kernels == NUMPY.name else chosen()))
        except allowed as error:
            results.append(error)
    failed = [isinstance(one, Exception) for one in results]
    if len(set(failed)) > 1 or (not failed[0] and not all(same(results[0], one) for one in results)):
        raise DisagreementError(f"{results}")
    if failed[0]:
        raise results[0]
    return results[0]


def _equal_arrays(one: Iterable[Any], other: Iterable[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _frames(content: bytes) -> object:
    return _both(lambda k: read_frames(content, k.cut, k.lay), _equal_arrays, STREAMED)


def _chunks(content: bytes) -> object:
    """The bytes as a chunk, and as two of them in one body, whose lanes step together."""
    once = None
    for count in (1, 2):
        body = np.frombuffer(content * count, np.uint8)
        ends = np.arange(1, count + 1) * len(content)
        once = _both(partial(_decoded, body=body, ends=ends), _equal_arrays, STREAMED)
    return once


def _decoded(kernels: Kernels, body: Bytes, ends: Int64s) -> object:
    return kernels.decode(body, ends - ends[0], ends)


def _fields(content: bytes) -> object:
    body = np.frombuffer(content, np.uint8)
    spans = np.array([0]), np.array([len(content)])
    return _both(lambda k: k.fields(body, *spans), _equal_arrays, STREAMED)


def _framed(message: bytes) -> bytes:
    remainder = 0xFFFF_FFFF
    for byte in message:
        remainder = remainder >> 8 ^ CRC_32C[(remainder ^ byte) & 0xFF]
    return varint(len(message)) + (remainder ^ 0xFFFF_FFFF).to_bytes(4) + message


def _messages(content: bytes) -> object:
    """Messages, each led by two bytes of length, as a stream whose sums are right, cut into batches at three places."""
    messages, at = [], 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 2])
        messages.append(_framed(content[at + 2 : at + 2 + size]))
        at += 2 + size
    stream, third = b"".join(messages), len(b"".join(messages)) // 3 + 1
    batches = [stream[at : at + third] for at in range(0, len(stream), third)]

    def read(kernels: Any) -> tuple[list[Block], Given]:  # noqa: ANN401 # `Kernels`
        given = Given()
        return list(ChunkStream(*EVER_MS, PLAIN, kernels).blocks(batches, given)), given

    def same(one: tuple[list[Block], Given], other: tuple[list[Block], Given]) -> bool:
        return one[1] == other[1] and _equal_blocks(one[0], other[0])

    return _both(read, same, STREAMED)


def _equal_blocks(one: list[Block], other: list[Block]) -> bool:
    return _series(one) == _series(other)


def _series(blocks: Iterable[Block]) -> list[Any]:
    """Labels and samples of each series, values by their bits, in an order of their own."""
    found = []
    for block in blocks:
        offsets, bits = block.offsets.tolist(), block.values.view(np.int64)
        for row, labels in enumerate(block.labels.to_pylist()):
            own = slice(offsets[row], offsets[row + 1])
            known = sorted((name, value) for name, value in labels.items() if value is not None)
            found.append((known, block.stamps_ms[own].tolist(), bits[own].tolist()))
    return sorted(found, key=repr)


# Arrow reads more as a number than JSON has, in lists that lie as servers write them: 01, .5, 2., inf, nan(x).
LISTS = re.compile(rb'(?<="values":)\[[^{}]*\]|(?<="timestamps":)\[[^{}"]*\]')
NUMBER = re.compile(rb'[^][,"]+')


def _as_json(content: bytes) -> bytes:
    """The same with those numbers as JSON has them."""
    return LISTS.sub(lambda found: NUMBER.sub(_number, found[0]), content)


def _number(token: re.Match[bytes]) -> bytes:
    try:
        json.loads(token[0])
    except ValueError:
        with suppress(pa.ArrowException):
            return json.dumps(pa.array([token[0]]).cast(pa.string()).cast(pa.float64())[0].as_py()).encode()
    return token[0]


NOT_A_MATRIX = (matrix_json.NoMatrixError, *MALFORMED)


def _matrix(content: bytes) -> object:
    wanted = matrix_json.Wanted(*EVER_MS)
    blocks = list(matrix_json.read_matrix(content, wanted))
    try:
        plain = wanted.block(matrix_json._parsed(matrix_json._result(_as_json(content))))
    except NOT_A_MATRIX as error:
        raise DisagreementError(f"json alone says {error!r}") from error
    if not _equal_blocks(blocks, [] if plain is None else [plain]):
        raise DisagreementError("json alone gives other samples")
    return blocks


def _export(content: bytes) -> object:
    lines = read_lines(content)
    blocks = list(blocks_of([lines], *EVER_MS))
    try:
        plain: Lines = _parsed(_as_json(content))
    except MALFORMED as error:
        raise DisagreementError(f"json alone says {error!r}") from error
    if not _equal_blocks(blocks, list(blocks_of([plain], *EVER_MS))):
        raise DisagreementError("json alone gives other samples")
    return blocks


def _chunked(content: bytes) -> object:
    """At once, and byte by byte."""
    pieces, whole = Chunked(), Chunked()
    text = b"".join(pieces.content(content[at : at + 1]) for at in range(len(content)))
    at_once = whole.content(content)
    if not pieces.ended and not whole.ended and text.startswith(at_once):
        return None
    if (text, pieces.ended) != (at_once, whole.ended):
        raise DisagreementError(f"byte by byte {text!r} {pieces.ended}, at once {at_once!r} {whole.ended}")
    return text


DECODERS: dict[str, Decoder] = {
    "frames": Decoder(_frames, STREAMED),
    "messages": Decoder(_messages, STREAMED),
    "fields": Decoder(_fields, STREAMED),
    "chunks": Decoder(_chunks, STREAMED),
    "matrix_json": Decoder(_matrix, NOT_A_MATRIX),
    "export_lines": Decoder(_export, MALFORMED),
    "chunked_body": Decoder(_chunked, (ProtocolError,)),
    **READERS,
}


def seeds(name: str) -> dict[str, bytes]:
    """The corpus of a decoder: real answers, hand-made ones and what was found, by file name."""
    paths = [*DECODERS[name].recorded, *sorted((CORPUS / name).glob("*"))]
    return {path.name: path.read_bytes() for path in paths}
