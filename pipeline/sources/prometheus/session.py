"""One HTTP session with limits: time for a whole answer, bytes, no redirects, and one clear line for every failure."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests

from pipeline.errors import SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.window import Clock

BYTES_PER_MB = 1 << 20
CHUNK_BYTES = 1 << 18
LINE_CHARACTERS = 200


class BoundedSession(requests.Session):
    """A session whose `request` reads the whole body within limits or raises one of our errors.

    Args:
        clock: for the deadline.
        timeout_seconds: for a whole answer, however slowly it drips.
        max_bytes: of a decoded body.
        on_warning: called with each warning text a Prometheus puts beside its data.
    """

    def __init__(self, clock: Clock, timeout_seconds: float, max_bytes: int, on_warning: Callable[[str], None]) -> None:
        super().__init__()
        self.trust_env = False  # a .netrc must not replace the credentials of the config
        self._clock, self._timeout_seconds, self._max_bytes, self._on_warning = (
            clock,
            timeout_seconds,
            max_bytes,
            on_warning,
        )

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **options: Any) -> requests.Response:  # noqa: ANN401 # the signature of requests
        """Send, read within the limits, and raise unless the answer is a 200.

        Raises:
            SourceUnavailable: unreachable, too slow, too large, 429 or 5xx.
            SourceRejected: any other status: credentials, path or query are wrong.
        """
        options |= {"stream": True, "allow_redirects": False, "timeout": self._timeout_seconds}
        where = _place(str(url))
        try:
            response = super().request(method, url, *args, **options)
            response._content = self._body(response, where)  # noqa: SLF001 # requests has no public way to cap a body
        except requests.Timeout:
            raise SourceUnavailable(
                f"{where} did not answer within {self._timeout_seconds:g} s (http.timeout_seconds)"
            ) from None
        except requests.RequestException as error:
            raise SourceUnavailable(f"cannot reach {where}: {_reason(error)}") from None
        if response.status_code != 200:
            raise _refusal(response, where)
        self._surface_warnings(response)
        return response

    def _body(self, response: requests.Response, where: str) -> bytes:
        deadline = self._clock.monotonic() + self._timeout_seconds
        chunks, size = [], 0
        with response:
            for chunk in response.iter_content(CHUNK_BYTES):
                size += len(chunk)
                if size > self._max_bytes:
                    raise SourceUnavailable(
                        f"{where} sent more than {self._max_bytes >> 20} MB: raise http.max_response_mb"
                    )
                if self._clock.monotonic() > deadline:
                    raise SourceUnavailable(
                        f"{where} did not finish within {self._timeout_seconds:g} s (http.timeout_seconds)"
                    )
                chunks.append(chunk)
        return b"".join(chunks)

    def _surface_warnings(self, response: requests.Response) -> None:
        if b'"warnings"' in response.content[-BYTES_PER_MB:]:
            for warning in _json(response).get("warnings") or []:
                self._on_warning(line(str(warning)))


def line(text: str) -> str:
    """At most one line of somebody else's text."""
    return " ".join(text.split())[:LINE_CHARACTERS]


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise SourceMalformed(
            f"{_place(response.url)} answers, but not as a Prometheus: check the address and its path prefix"
        )
    return answer


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path.split('/api/v1')[0]}"


def _reason(error: requests.RequestException) -> str:
    text = str(error)
    for known in (
        "Connection refused",
        "Name or service not known",
        "Network is unreachable",
        "certificate verify failed",
    ):
        if known in text:
            return known.lower()
    return line(text)


def _refusal(response: requests.Response, where: str) -> Exception:
    status = response.status_code
    try:
        detail = line(str(json.loads(response.content).get("error", "")))
    except (ValueError, AttributeError):
        detail = line(response.text)
    if status in (401, 403):
        return SourceRejected(
            f"{where} refuses these credentials ({status}): set bearer_token_env or username with password_env for it"
        )
    if status == 404 or 300 <= status < 400:
        return SourceRejected(f"{where} has no Prometheus API ({status}): check the address and its path prefix")
    if status == 429 or status >= 500:
        error = SourceUnavailable(f"{where} answers {status}: {detail or 'no reason given'}")
        error.retry_after_seconds = _retry_after(response)
        return error
    return SourceRejected(f"{where} refuses the query ({status}): {detail}")


def _retry_after(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
