"""Calls to vendors' web APIs, with manners: limits of time and bytes, patience, pacing, and no secret in messages."""

import email.utils
import json
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import MAXYEAR, UTC, datetime
from functools import cache
from typing import Any, NamedTuple, NoReturn

import httpx

from pipeline.credentials.echoes import without
from pipeline.errors import SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.fuse import Fuse, OversizedError, read_body
from pipeline.settings import HttpSettings
from pipeline.sources.wording import LINE_CHARACTERS, failure, line, writable
from pipeline.window import Clock

HEADERS = {"User-Agent": "carbon-etl", "Accept-Encoding": "gzip"}
FIRST_WAIT_SECONDS = 1.0


class Reply(NamedTuple):
    """An answer other than a time-out.

    Attributes:
        status: HTTP.
        body: whole, without any secret that was sent.
        url: what was asked, without any secret.
    """

    status: int
    body: bytes
    url: str


class NotInPlan(SourceError):
    """The credentials are good, the plan does not include what was asked: another provider may answer."""

    exit_code = 2


class NothingThere(SourceError):
    """The provider has nothing for this zone or span: another provider may answer."""


Refusal = Callable[[Reply], SourceError | None]


@cache
def _authorities() -> ssl.SSLContext:
    """The public ones; to read them takes 45 ms, once for all providers."""
    return httpx.create_ssl_context(trust_env=False)


class Web:
    """One provider's address.

    Args:
        provider: its name, for messages.
        http: limits of every call.
        clock: for deadlines, pauses and pacing.
        least_seconds: between the starts of two requests, the provider's rate limit.
        refusal: what the provider means by an answer other than 200, where it says more than its status does.
    """

    def __init__(
        self,
        provider: str,
        http: HttpSettings,
        clock: Clock,
        least_seconds: float = 0.0,
        refusal: Refusal = lambda _reply: None,
    ) -> None:
        self.provider, self.clock = provider, clock
        self._http, self._least_seconds, self._refusal = http, least_seconds, refusal
        self._last: float | None = None
        # no connection outlives its answer: paced calls gain little from that, and nobody has to close anything
        one_each = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(trust_env=False, verify=_authorities(), headers=HEADERS, limits=one_each)

    def get(
        self,
        url: str,
        params: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        secret_params: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
    ) -> Reply:
        """Ask until it answers 200 or the budget of retries is spent.

        Args:
            url: without query.
            params: query, shown in messages and kept with the payload.
            headers: may hold secrets.
            secret_params: query that is sent and never shown.
            secrets: texts blotted out of the answer, where a vendor repeats them.

        Raises:
            SourceUnavailable: unreachable, slow, cut off, 429, 5xx, and still so after `http.retry_seconds`.
            SourceRejected: refused: request or credentials are wrong.
            NotInPlan, NothingThere: as the provider's refusal says.
        """
        deadline = self.clock.monotonic() + self._http.retry_seconds
        wait_seconds = FIRST_WAIT_SECONDS
        shown = httpx.URL(url, params=dict(params) if isinstance(params, Mapping) else list(params))
        sent = shown.copy_merge_params(secret_params) if secret_params else shown
        told = [*secrets, *(secret_params or {}).values()]
        while True:
            try:
                return self._once(sent, shown, headers or {}, told)
            except SourceUnavailable as error:
                pause_seconds = max(wait_seconds, error.retry_after_seconds or 0.0)
                if self.clock.monotonic() + pause_seconds > deadline:
                    raise
            self.clock.sleep(pause_seconds)
            wait_seconds *= 2

    def _once(self, sent: httpx.URL, shown: httpx.URL, headers: Mapping[str, str], told: Iterable[str]) -> Reply:
        self._pace()
        seconds, where = self._http.timeout_seconds, f"{self.provider} ({shown.copy_with(query=None)})"
        fuse = Fuse(seconds)
        try:
            request = self._client.build_request("GET", sent, headers=dict(headers))
            request.extensions = {"timeout": httpx.Timeout(seconds).as_dict(), "trace": fuse.trace}
            with fuse, closing(self._client.send(request, stream=True, follow_redirects=False)) as response:
                content = read_body(response, self._http.max_response_mb << 20)
        except OversizedError:
            raise SourceRejected(
                f"{where} sent more than {self._http.max_response_mb} MB: raise http.max_response_mb"
            ) from None
        except (httpx.TransportError, httpx.DecodingError, UnicodeEncodeError) as error:
            self._broken(where, error, slow=fuse.blown or isinstance(error, httpx.TimeoutException))
        if fuse.blown:  # a body without a length ends cleanly wherever it is cut
            self._broken(where, None, slow=True)
        reply = Reply(response.status_code, without(content, told), str(shown))
        if reply.status != 200:
            raise self._refusal(reply) or self._refused(reply, where, response.headers.get("Retry-After", ""))
        return reply

    def _broken(self, where: str, error: Exception | None, *, slow: bool) -> NoReturn:
        if isinstance(error, UnicodeEncodeError):
            raise SourceRejected(f"{where} cannot be asked: its credentials are not ASCII") from None
        if error is None or slow:
            raise SourceUnavailable(
                f"{where} did not answer within {self._http.timeout_seconds:g} s (http.timeout_seconds)"
            ) from None
        raise failure(error, where) from None

    def _pace(self) -> None:
        """Keep the provider's rate limit."""
        if self._last is not None:
            left = self._last + self._least_seconds - self.clock.monotonic()
            if left > 0:
                self.clock.sleep(left)
        self._last = self.clock.monotonic()

    def _refused(self, reply: Reply, where: str, retry_after: str) -> SourceError:
        says = f"{where} answers {reply.status}: {first_line(reply.body) or 'no reason given'}"
        if reply.status == 429 or reply.status >= 500:
            error = SourceUnavailable(says)
            error.retry_after_seconds = _seconds(retry_after, self.clock.now())
            return error
        if reply.status in (401, 403):
            return SourceRejected(f"{says}: check the credentials of [intensity.{self.provider}]")
        if reply.status in range(300, 400):
            return SourceRejected(f"{says}: redirects are not followed, write the final address into base_url")
        if reply.status == 404:
            return NothingThere(f"{says}: check zone and base_url of [intensity.{self.provider}]")
        return SourceRejected(says)


def first_line(body: bytes) -> str:
    """At most one line of somebody else's text."""
    return line(body[:4096].decode(errors="replace"))


def malformed(provider: str, what: str) -> SourceMalformed:
    """The error of an answer that the provider's documentation does not allow."""
    return SourceMalformed(f"{provider} answers {' '.join(what.split())[: 2 * LINE_CHARACTERS]}")


def document(provider: str, body: bytes) -> Any:  # noqa: ANN401 # the type of a JSON document
    """The JSON of an answer, all its texts writable.

    Raises:
        SourceMalformed: it is none.
    """
    try:
        return writable(json.loads(body))
    except (ValueError, RecursionError):
        raise malformed(provider, f"with something that is no JSON: {first_line(body)!r}") from None


def moment(provider: str, text: object) -> datetime:
    """A time of an answer, as UTC.

    Raises:
        SourceMalformed: not ISO 8601, or naive.
    """
    try:
        stamp = datetime.fromisoformat(text) if isinstance(text, str) else None
        if stamp is not None and stamp.tzinfo is not None and stamp.year < MAXYEAR:  # a step can still be added
            return stamp.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise malformed(provider, f"{line(repr(text))} where it documents a time with a zone")


def figure(provider: str, value: object) -> float | None:
    """A figure of an answer; null stays None.

    Raises:
        SourceMalformed: neither.
    """
    if value is None:
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    except OverflowError:
        pass
    raise malformed(provider, f"{line(repr(value))} where it documents a number or null")


def _seconds(text: str, now: datetime) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None where it is neither."""
    if text.isdecimal():
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())
