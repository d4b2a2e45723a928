"""Remote write 1.0 over HTTP: a body is sent once, and the answer becomes a verdict.

Version 1.0 is all or nothing per request, where the receiver keeps to it, and a 2xx proves neither storage nor
visibility: callers read back.
"""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache

import httpx

from pipeline.credentials import echoes
from pipeline.credentials.sigv4 import SESSION_HEADER
from pipeline.errors import RemoteWriteError, visible
from pipeline.fuse import Fuse, OversizedError, read_body

HEADERS = {
    "Accept-Encoding": "identity",
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "User-Agent": "carbon-etl",
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
    405: ("not_found", "check that its url is a remote write address"),
    409: ("conflict", "it holds another value there: let only one publisher write to this store"),
    413: ("too_large", "raise the receiver's limit on request size"),
}


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


def send(
    client: httpx.Client,
    url: str,
    authorization: Mapping[str, str],
    secrets: Iterable[str],
    body: bytes,
    timeout_seconds: float,
) -> None:
    """Post a `write_request`; returning means that the receiver answered 2xx, and no more than that.

    `secrets` are those of `authorization`, which nobody may see.

    Raises:
        UnsettledWriteError: nobody answered (`unreachable`: nothing was sent), the answer was lost (`unclear`: it may
            be stored) or the receiver asks for patience (`throttled`: nothing was stored; `unavailable`).
        RemoteWriteError: refused for good; the cause says why, the message what to do.
    """
    request = httpx.Request("POST", _parsed_url(url), content=body, headers=HEADERS | dict(authorization))
    answer = exchange(client, request, timeout_seconds, MAX_REFUSAL_BYTES, secrets)
    if not 200 <= answer.status < 300:
        raise refusal(answer, url)


def exchange(
    client: httpx.Client, request: httpx.Request, timeout_seconds: float, max_bytes: int, secrets: Iterable[str]
) -> Answer:
    """One request and its whole answer, within `timeout_seconds` however slowly it drips. Redirects are not followed.

    Of an answer other than 2xx, `secrets` that the request held are taken out.

    Raises:
        UnsettledWriteError: `unreachable` or `unclear`.
        RemoteWriteError: (`too_large`) an answer longer than `max_bytes`.
    """
    fuse = Fuse(timeout_seconds)
    request.extensions = {"timeout": httpx.Timeout(timeout_seconds).as_dict(), "trace": fuse.trace}
    try:
        with fuse, closing(client.send(request, stream=True, follow_redirects=False)) as response:
            body = read_body(response, max_bytes)
    except OversizedError:
        raise RemoteWriteError(
            f"{_where(request)} answers more than {max_bytes} bytes: raise http.max_response_mb", "too_large"
        ) from None
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise UnsettledWriteError(
            f"{_where(request)} cannot be reached ({error}): is the store running?", "unreachable"
        ) from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        reason = "took longer than http.timeout_seconds" if fuse.blown else f"broke off ({type(error).__name__})"
        raise UnsettledWriteError(
            f"{_where(request)}: the answer {reason}; what the store holds is read before the next write", "unclear"
        ) from error
    if fuse.blown:  # a body without a length ends cleanly wherever it is cut
        raise UnsettledWriteError(f"{_where(request)}: the answer took longer than http.timeout_seconds", "unclear")
    if not response.is_success:
        body = echoes.without(body, (*secrets, request.headers.get(SESSION_HEADER, "")))
    return Answer(response.status_code, _seconds(response.headers.get("Retry-After", "")), body)


_parsed_url = lru_cache(httpx.URL)  # once, not for each request


def _where(request: httpx.Request) -> str:
    return str(request.url.copy_with(query=None))


def refusal(answer: Answer, where: str) -> RemoteWriteError:
    """The error that an answer other than 2xx means."""
    line = visible(next(iter(answer.body.decode(errors="replace").splitlines()), ""))[:200]
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
