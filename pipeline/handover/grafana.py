"""Calls to one Grafana, with limits of time and bytes, patience, and no secret in messages.

Of its HTTP API the paths under `/api/` are used: the only ones before 12; later releases keep them beside `/apis/`.
"""

import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any, NoReturn

import httpx

from pipeline.credentials.echoes import without
from pipeline.credentials.tls import Tls
from pipeline.errors import SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.fuse import Fuse, OversizedError, read_body
from pipeline.settings import HttpSettings
from pipeline.settings.servers import SecuredServer
from pipeline.sources.prometheus.attempts import attempts
from pipeline.sources.wording import failure, line
from pipeline.window import Clock

HEADERS = {"User-Agent": "carbon-etl", "Accept": "application/json", "Accept-Encoding": "gzip"}
NOT_FOUND, CONFLICTS = 404, (409, 412)
SAID = 4096


class Conflict(SourceRejected):
    """What is there already stands against what was asked; `status` is Grafana's word for it, where it says one."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class Grafana:
    """One address. Every request may be made twice: what is asked for is named by its uid.

    Raises:
        ConfigError: a secret or a certificate is not there.
    """

    def __init__(self, server: SecuredServer, http: HttpSettings, env: Mapping[str, str], clock: Clock) -> None:
        self.url = server.url.rstrip("/")
        self._http, self._clock = http, clock
        self._secrets = server.secrets(env)
        self._tls = Tls(server.ca_file, server.cert_file, server.key_file, server.server_name)
        verify: ssl.SSLContext | bool = self._tls.context() if self.url.startswith("https:") else False
        self._client = httpx.Client(
            verify=verify,
            trust_env=False,
            headers=HEADERS | server.header(env),
            limits=httpx.Limits(max_keepalive_connections=0),  # nobody has to close anything
        )

    def get(self, path: str) -> Any:  # noqa: ANN401 # the type of a JSON document
        """What is at `path`; None where nothing is.

        Raises:
            SourceUnavailable: unreachable, slow, 429, 5xx, and still so after `http.retry_seconds`.
            SourceRejected: refused.
            SourceMalformed: no JSON.
        """
        return self._asked("GET", path, None)

    def post(self, path: str, document: Mapping[str, Any]) -> Any:  # noqa: ANN401 # as above
        """What Grafana answers to `document`.

        Raises:
            Conflict: something is there already, or was changed meanwhile.
            SourceUnavailable, SourceRejected, SourceMalformed: as `get`; also where nothing is at `path`.
        """
        answer = self._asked("POST", path, document)
        if answer is None:
            raise SourceRejected(
                f"{self.url}{path} is not there: is {self.url} the address of a Grafana 10.4 or newer?"
            )
        return answer

    def _asked(self, method: str, path: str, document: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 # as above
        return attempts(partial(self._once, method, path, document), self._clock, self._http.retry_seconds)

    def _once(self, method: str, path: str, document: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 # as above
        where, seconds = f"{self.url}{path.partition('?')[0]}", self._http.timeout_seconds
        fuse = Fuse(seconds)
        request = self._client.build_request(method, self.url + path, json=document)
        request.extensions = {"timeout": httpx.Timeout(seconds).as_dict(), "trace": fuse.trace}
        try:
            with fuse, closing(self._client.send(request, stream=True, follow_redirects=False)) as response:
                body = without(read_body(response, self._http.max_response_mb << 20), self._secrets)
        except OversizedError:
            raise SourceRejected(f"{where} sent more than {self._http.max_response_mb} MB: is it a Grafana?") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            self._broken(where, error, slow=fuse.blown or isinstance(error, httpx.TimeoutException))
        if fuse.blown:
            self._broken(where, None, slow=True)
        if response.status_code == NOT_FOUND:
            return None
        if response.status_code not in (200, 201):
            raise self._refused(response, body, where)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise SourceMalformed(f"{where} answers with something that is no JSON: is it a Grafana?") from None

    def _broken(self, where: str, error: Exception | None, *, slow: bool) -> NoReturn:
        verdict = self._tls.verdict(str(error))
        if verdict is not None:
            raise SourceRejected(f"{where} {verdict}") from None
        if error is None or slow:
            raise SourceUnavailable(
                f"{where} did not answer within {self._http.timeout_seconds:g} s (http.timeout_seconds)"
            ) from None
        raise failure(error, where) from None

    def _refused(self, response: httpx.Response, body: bytes, where: str) -> SourceError:
        status = response.status_code
        message, word = _reason(body)
        says = f"{where} answers {status}: {message or 'no reason given'}"
        if status == 429 or status >= 500:
            error = SourceUnavailable(says)
            wait = response.headers.get("Retry-After", "")
            error.retry_after_seconds = float(wait) if wait.isdecimal() else None
            return error
        if status in CONFLICTS:
            return Conflict(f"{says}{f' ({word})' if word else ''}", word)
        if status == 401:
            return SourceRejected(f"{says}: check the token")
        if status == 403:
            return SourceRejected(f"{says}: the token's service account lacks a permission")
        if status in range(300, 400):
            return SourceRejected(f"{says}: redirects are not followed, give the final address as --url")
        return SourceRejected(says)


def _reason(body: bytes) -> tuple[str, str]:
    """The message and the status word of Grafana's errors, or the first line of another's."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return line(body[:SAID].decode(errors="replace")), ""
    return line(str(found.get("message", ""))), line(str(found.get("status", "")))
