"""One HTTP session with limits: time for a whole answer, bytes, no redirects, and one clear line for every failure."""

import json
import re
from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter

from pipeline.errors import SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.sources.prometheus.access import OPEN, Access
from pipeline.sources.prometheus.heads import POOLS
from pipeline.sources.wording import line
from pipeline.window import Clock

BYTES_PER_MB = 1 << 20
CHUNK_BYTES = 1 << 18
IS_PARTIAL = re.compile(rb'"isPartial"\s*:\s*true')


class BoundedSession(requests.Session):
    """A session whose `request` reads the whole body within limits or raises one of our errors.

    Args:
        clock: for the deadline.
        timeout_seconds: for a whole answer, however slowly it drips.
        max_bytes: of a decoded body.
        on_warning: called with each warning text a Prometheus puts beside its data.
        access: credentials and TLS of every request, whoever makes it.
    """

    def __init__(
        self,
        clock: Clock,
        timeout_seconds: float,
        max_bytes: int,
        on_warning: Callable[[str], None],
        access: Access = OPEN,
    ) -> None:
        super().__init__()
        self.trust_env = False  # a .netrc must not replace the credentials of the config
        self.auth, self._access = access.admit, access
        self._clock, self._timeout_seconds, self._max_bytes, self._on_warning = (
            clock,
            timeout_seconds,
            max_bytes,
            on_warning,
        )

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **options: Any) -> requests.Response:  # noqa: ANN401 # the signature of requests
        """Send, read within the limits, and raise unless the answer is a 200.

        Raises:
            SourceUnavailable: unreachable, too slow, cut off, partial, 429 or 5xx.
            SourceRejected: too large, or any other status: credentials, path or query are wrong.
        """
        options |= {"stream": True, "allow_redirects": False, "timeout": self._timeout_seconds}
        where = _place(str(url))
        deadline = self._clock.monotonic() + self._timeout_seconds
        try:
            response = super().request(method, url, *args, **options)
            response._content = self._body(response, where, deadline)  # noqa: SLF001 # requests has no public way to cap a body
        except (requests.Timeout, urllib3.exceptions.ReadTimeoutError):
            raise SourceUnavailable(
                f"{where} did not answer within {self._timeout_seconds:g} s (http.timeout_seconds)"
            ) from None
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL):
            raise SourceRejected(f"{where} cannot be asked: its address or its credentials cannot be sent") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise self._access.failure(error, where) from None
        if response.status_code != 200:
            response._content = self._access.unechoed(response)  # noqa: SLF001 # whoever shows what it says
            raise _refusal(response, where)
        self._surface_warnings(response, where)
        return response

    def get_adapter(self, url: str) -> BaseAdapter:
        """The endpoint's own for https, whatever else is mounted: prometheus-api-client mounts one without our TLS.

        Of either, connections give a head its time.
        """
        own = self._access.adapter
        adapter = own if own is not None and url.startswith("https:") else super().get_adapter(url)
        if isinstance(adapter, HTTPAdapter):
            adapter.poolmanager.pool_classes_by_scheme = POOLS
        return adapter

    def _body(self, response: requests.Response, where: str, deadline: float) -> bytes:
        body, size = BytesIO(), 0  # which gives its bytes away uncopied
        with response:
            # read1 returns what has come; read and iter_content would wait for a whole chunk past any deadline
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
                size += len(chunk)
                if size > self._max_bytes:  # asking again would not make it smaller
                    raise SourceRejected(
                        f"{where} sent more than {self._max_bytes >> 20} MB: raise http.max_response_mb"
                    )
                if self._clock.monotonic() > deadline:
                    raise SourceUnavailable(
                        f"{where} did not finish within {self._timeout_seconds:g} s (http.timeout_seconds)"
                    )
                body.write(chunk)
            if not size and response.status_code == 200 and _is_of_unknown_length(response):
                raise SourceUnavailable(f"{where}: its answer broke off before it began")
        return body.getvalue()

    def _surface_warnings(self, response: requests.Response, where: str) -> None:
        if IS_PARTIAL.search(response.content[:BYTES_PER_MB]):
            raise SourceUnavailable(f"{where} answers in part only (isPartial): some of its storage nodes are away")
        if b'"warnings"' in response.content[-BYTES_PER_MB:]:
            for warning in _json(response).get("warnings") or []:
                self._on_warning(line(str(warning)))


def _is_of_unknown_length(response: requests.Response) -> bool:
    """As of a head that broke off: http.client takes what came of it for all of it."""
    return response.raw.length_remaining is None and not response.raw.chunked


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise SourceMalformed(
            f"{_place(response.url)} answers, but not as a Prometheus: check the address and its path prefix"
        )
    return answer


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path.split('/api/v1')[0]}"


def _refusal(response: requests.Response, where: str) -> SourceError:
    status, detail = response.status_code, _detail(response)
    if status in (401, 403):
        given = "Authorization" in response.request.headers
        advice = "check them" if given else "set bearer_token_env or username with password_env for it"
        says = f" (it says: {detail})" if detail else ""
        return SourceRejected(f"{where} refuses these credentials ({status}): {advice}{says}")
    if status == 404 or 300 <= status < 400:
        return SourceRejected(f"{where} has no Prometheus API ({status}): check the address and its path prefix")
    if status == 429 or status >= 500:
        error = SourceUnavailable(f"{where} answers {status}: {detail or 'no reason given'}")
        error.retry_after_seconds = _retry_after(response)
        return error
    return SourceRejected(f"{where} refuses the query ({status}): {detail}")


def _detail(response: requests.Response) -> str:
    """What an answer other than 200 says, as a line."""
    try:
        answer = json.loads(response.content)
        return line(str(answer.get("error") or answer.get("message") or ""))
    except (ValueError, AttributeError, RecursionError):
        return line(response.text)


def _retry_after(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None
