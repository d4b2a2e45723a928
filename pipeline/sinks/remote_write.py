"""Prometheus remote write 1.0: samples become one snappy-compressed protobuf message, and an answer becomes a verdict.

Written by hand because the message has four fields; the format and every receiver's behaviour: Prometheus remote write
1.0 specification. Version 1.0 is all or nothing per request, and a 2xx proves neither storage nor visibility: callers
read back.
"""

import re
import struct
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, NoReturn, TypeAlias

import httpx
import numpy as np
import pyarrow as pa

from pipeline.errors import RemoteWriteError
from pipeline.fuse import Fuse
from pipeline.samples import Floats, Int64s

Labels: TypeAlias = tuple[tuple[str, str], ...]

VARINT_BYTES = 6  # of a stamp between 1971 and 2109
SIX_BYTES = (1 << 7 * (VARINT_BYTES - 1), 1 << 7 * VARINT_BYTES)
SAMPLE_BYTES = 12 + VARINT_BYTES
METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
MAX_REFUSAL_BYTES = 1 << 20
WIDEN = "set storage.tsdb.out_of_order_time_window there, or write to a store of its own"
# What a receiver says, in whichever status; Prometheus 2.42 answers "too old sample" with a 500, no less final.
PHRASES = (
    ("out of bounds", "out_of_bounds", WIDEN),
    ("too old", "too_old", WIDEN),
    ("out of order", "out_of_order", WIDEN),
    ("duplicate sample", "duplicate", "it holds another value there: let only one publisher write to this store"),
    ("duplicate timestamp", "duplicate", "it holds another value there: let only one publisher write to this store"),
)
STATUSES = {
    401: ("unauthorized", "check the store's credentials in the config"),
    403: ("unauthorized", "check the store's credentials in the config"),
    404: ("not_found", "check its url; a Prometheus needs --web.enable-remote-write-receiver"),
    409: ("conflict", "it holds another value there: let only one publisher write to this store"),
    413: ("too_large", "raise the receiver's limit on request size"),
}


class Sample(NamedTuple):
    """One sample as it is sent: labels sorted by name, without `__name__`, with `revision` where there is one."""

    metric: str
    labels: Labels
    stamp_ms: int
    value: float


class UnsettledWriteError(RemoteWriteError):
    """A failure that may pass: worth another look after `retry_after_seconds`, but never a blind repetition."""

    def __init__(self, message: str, cause: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message, cause)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    retry_after_seconds: float
    body: bytes


def encode(samples: Iterable[Sample]) -> bytes:
    """A protobuf `WriteRequest`: series in the order of their first sample, stamps rising within each.

    Raises:
        RemoteWriteError: (`invalid_sample`) a name, a label value or a number that no store could give back.
    """
    samples = list(samples)
    stamps_ms, values = [sample.stamp_ms for sample in samples], [sample.value for sample in samples]
    points = _Points(np.array(stamps_ms, dtype=np.int64), np.array(values, dtype=np.float64))
    for at in np.flatnonzero(~np.isfinite(points.values)):
        _refuse(f"{samples[at].metric} has the value {values[at]}: only finite numbers are published")
    spans = _series([sample.metric for sample in samples], [sample.labels for sample in samples])
    if any(len(parts) > 1 for parts in spans.values()) or not points.rising(spans):
        points, spans = points.in_order(spans)
    field = points.fields()
    return b"".join(
        _field(1, _labels(*key) + field(start, end)) for key, parts in spans.items() for start, end in parts
    )


Spans: TypeAlias = dict[tuple[str, Labels], list[tuple[int, int]]]


def _series(metrics: Sequence[str], labels: Sequence[Labels]) -> Spans:
    """Where the samples of each series stand; neighbours of one series share their labels as one object, mostly."""
    count = len(labels)
    objects = np.fromiter(map(id, labels), np.int64, count), np.fromiter(map(id, metrics), np.int64, count)
    changes = np.logical_or(*(np.diff(ids) != 0 for ids in objects))
    edges = sorted({0, *(np.flatnonzero(changes) + 1).tolist(), count})
    spans: Spans = {}
    for start, end in pairwise(edges):
        spans.setdefault((metrics[start], labels[start]), []).append((start, end))
    return spans


class _Points(NamedTuple):
    """Stamps and values of samples."""

    stamps_ms: Int64s
    values: Floats

    def rising(self, spans: Spans) -> bool:
        """Whether stamps rise within every span."""
        falls = np.diff(self.stamps_ms) <= 0
        falls[[start - 1 for parts in spans.values() for start, _ in parts if start]] = False
        return not falls.any()

    def in_order(self, spans: Spans) -> tuple["_Points", Spans]:
        """The same, each series in one span and in the order of its stamps, then values."""
        rows = [np.concatenate([np.arange(*part) for part in parts]) for parts in spans.values()]
        series = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
        row = np.concatenate(rows)
        row = row[np.lexsort((self.values[row], self.stamps_ms[row], series))]
        edges = np.cumsum([0, *(len(part) for part in rows)]).tolist()
        whole = {key: [span] for key, span in zip(spans, pairwise(edges), strict=True)}
        return _Points(self.stamps_ms[row], self.values[row]), whole

    def fields(self) -> Callable[[int, int], bytes]:
        """The encoded samples from one place to another."""
        lowest, highest = SIX_BYTES
        if not ((self.stamps_ms >= lowest) & (self.stamps_ms < highest)).all():
            each = [_sample(*point) for point in zip(self.stamps_ms.tolist(), self.values.tolist(), strict=True)]
            return lambda start, end: b"".join(each[start:end])
        cells = np.empty((len(self.values), SAMPLE_BYTES), dtype=np.uint8)
        cells[:, :3] = (0x12, SAMPLE_BYTES - 2, 0x09)
        cells[:, 3:11] = self.values.astype("<f8").view(np.uint8).reshape(-1, 8)
        cells[:, 11] = 0x10
        shifts = np.arange(0, 7 * VARINT_BYTES, 7)
        cells[:, 12:] = (self.stamps_ms[:, np.newaxis] >> shifts) & 0x7F | 0x80
        cells[:, -1] &= 0x7F
        text = cells.tobytes()
        return lambda start, end: text[start * SAMPLE_BYTES : end * SAMPLE_BYTES]


def _sample(stamp_ms: int, value: float) -> bytes:
    return _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(stamp_ms))


def _labels(metric: str, labels: Labels) -> bytes:
    place = _name_place(metric, tuple([name for name, _ in labels]))
    return b"".join([_label(*pair) for pair in (*labels[:place], ("__name__", metric), *labels[place:])])


@lru_cache
def _name_place(metric: str, names: tuple[str, ...]) -> int:
    """Where `__name__` stands among a metric's labels: their names may start with capitals, which sort before it."""
    if not METRIC_NAME.fullmatch(metric):
        _refuse(f"{metric!r} is not a metric name")
    if list(names) != sorted(set(names)):
        _refuse(f"the labels of {metric} are not sorted and unique: {list(names)}")
    return bisect(names, "__name__")


@lru_cache(maxsize=65_536)
def _label(name: str, value: str) -> bytes:
    if not LABEL_NAME.fullmatch(name):
        _refuse(f"{name!r} is not a label name")
    if not value:
        _refuse(f"label {name} is empty, which a store reads as absent")
    try:
        return _field(1, _field(1, name.encode()) + _field(2, value.encode()))
    except UnicodeEncodeError:
        _refuse(f"label {name} is not Unicode text: {value!r}")


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    number &= 0xFFFF_FFFF_FFFF_FFFF  # int64 on the wire: a negative stamp is its two's complement
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _refuse(reason: str) -> NoReturn:
    raise RemoteWriteError(f"not sent: {reason}", "invalid_sample")


def write_request(samples: Sequence[Sample], now_ms: int) -> bytes:
    """The body of one request: the encoded samples as a snappy block.

    Raises:
        RemoteWriteError: `invalid_sample`, or `future`: a stamp after now would shut all live samples out.
    """
    ahead_ms = max((sample.stamp_ms for sample in samples), default=now_ms) - now_ms
    if ahead_ms > 0:
        raise RemoteWriteError(f"not sent: a stamp lies {ahead_ms} ms after now: check this machine's clock", "future")
    return bytes(pa.compress(encode(samples), codec="snappy", asbytes=True))


def send(client: httpx.Client, url: str, authorization: Mapping[str, str], body: bytes, timeout_seconds: float) -> None:
    """Post a `write_request`; returning means that the receiver answered 2xx, and no more than that.

    Raises:
        UnsettledWriteError: nobody answered (`unreachable`: nothing was sent), the answer was lost (`unclear`: it may
            be stored) or the receiver asks
            for patience (`throttled`: nothing was stored; `unavailable`).
        RemoteWriteError: refused for good; the cause says why, the message what to do.
    """
    request = client.build_request("POST", url, content=body, headers=HEADERS | dict(authorization))
    answer = exchange(client, request, timeout_seconds, MAX_REFUSAL_BYTES)
    if not 200 <= answer.status < 300:
        raise refusal(answer, url)


def exchange(client: httpx.Client, request: httpx.Request, timeout_seconds: float, max_bytes: int) -> Answer:
    """One request and its whole answer, within `timeout_seconds` however slowly it drips. Redirects are not followed.

    Raises:
        UnsettledWriteError: `unreachable` or `unclear`.
        RemoteWriteError: (`too_large`) an answer longer than `max_bytes`.
    """
    where = str(request.url.copy_with(query=None))
    body = bytearray()
    fuse = Fuse(timeout_seconds)
    request.extensions = {"timeout": httpx.Timeout(timeout_seconds).as_dict(), "trace": fuse.trace}
    try:
        with fuse, closing(client.send(request, stream=True, follow_redirects=False)) as response:
            for part in response.iter_bytes():
                body += part
                if len(body) > max_bytes:
                    raise RemoteWriteError(
                        f"{where} answers more than {max_bytes} bytes: raise http.max_response_mb", "too_large"
                    )
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise UnsettledWriteError(
            f"{where} cannot be reached ({error}): is the store running?", "unreachable"
        ) from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        reason = "took longer than http.timeout_seconds" if fuse.blown else f"broke off ({type(error).__name__})"
        raise UnsettledWriteError(
            f"{where}: the answer {reason}; what the store holds is read before the next write", "unclear"
        ) from error
    if fuse.blown:  # a body without a length ends cleanly wherever it is cut
        raise UnsettledWriteError(f"{where}: the answer took longer than http.timeout_seconds", "unclear")
    return Answer(response.status_code, _seconds(response.headers.get("Retry-After", "")), bytes(body))


def refusal(answer: Answer, where: str) -> RemoteWriteError:
    """The error that an answer other than 2xx means."""
    line = next(iter(answer.body.decode(errors="replace").splitlines()), "")[:200]
    says = f"{where} answers {answer.status}" + (f" ({line})" if line else "")
    plain = line.lower().replace("-", " ")
    for phrase, cause, advice in PHRASES:
        if phrase in plain and answer.status in range(400, 600):
            return RemoteWriteError(f"{says}: {advice}", cause)
    if answer.status == 429 or answer.status >= 500:
        cause = "throttled" if answer.status == 429 else "unavailable"
        return UnsettledWriteError(f"{says}: try again later", cause, answer.retry_after_seconds)
    if answer.status in range(300, 400):
        return RemoteWriteError(
            f"{says}: redirects are not followed, write the final address into the config", "redirect"
        )
    cause, advice = STATUSES.get(answer.status, ("rejected", "check that its url is a remote write address"))
    return RemoteWriteError(f"{says}: {advice}", cause)


def _seconds(retry_after: str) -> float:
    """Seconds of a Retry-After header; a date (which no known receiver sends) counts as none."""
    return float(retry_after) if retry_after.isdigit() else 0.0
