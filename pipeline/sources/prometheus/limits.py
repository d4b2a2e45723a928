"""Refusals that mean "too much at once": what servers say of their limits, and what we say of ours.

Sources: the texts of Prometheus 2.42 and VictoriaMetrics 1.79 are those that they answered here; those of Thanos, Mimir
and Cortex (Amazon's service is one) are from their code and issues.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import requests

from pipeline.errors import SourceError
from pipeline.sources.prometheus.session import BoundedSession
from pipeline.sources.wording import line

TIME, SERIES, SIZE = "time", "series", "size"
STATUSES = {413: SIZE, 422: SIZE, 504: TIME}  # that mean a limit, whatever is said with them
OURS = (  # words, what sets the limit, what it is of
    (r"did not (?:answer|finish) within .* \(http\.timeout_seconds\)", "http.timeout_seconds", TIME),
    (r"sent more than .*: raise http\.max_response_mb", "http.max_response_mb", SIZE),
)
THEIRS = (
    (r"query processing would load too many samples[^\"\\]*", "--query.max-samples", SIZE),
    (r"query timed out[^\"\\]*", "--query.timeout", TIME),
    (r"exceeded (?:the )?series limit[^\"\\]*", "the limits of its stores", SERIES),
    (r"exceeded (?:the )?(?:sample|chunk|byte)s? limit[^\"\\]*", "the limits of its stores", SIZE),
    (r"[^\":]*(?:: [^\":]*)?\(err-mimir-max-series-[a-z-]+\)", "that limit of the tenant", SERIES),
    (r"[^\":]*(?:: [^\":]*)?\(err-mimir-max-[a-z-]+\)", "that limit of the tenant", SIZE),
    (r"the query (?:hit|exceeded) the max(?:imum)? number of series[^\"\\]*", "that limit of the tenant", SERIES),
    (r"the query (?:hit|exceeded) the (?:max|aggregated)[^\"\\]*", "that limit of the tenant", SIZE),
    (r"cannot select more than -search\.[^;\"\\]*", "that flag", SIZE),
    (r"the number of matching (?:unique )?time ?series exceeds[^;\"\\]*", "its -search.max...series", SERIES),
    (r"timeout exceeded[^;\"\\]*", "-search.maxQueryDuration", TIME),
)


class Limit(NamedTuple):
    """A limit in the words of whoever has it, what sets it, and what it is of: `time`, `series` or `size`."""

    said: str
    setting: str
    of: str


class TooMuchError(SourceError):
    """A server that does not give so much at once."""

    exit_code = 2

    def __init__(self, message: str, limit: Limit) -> None:
        super().__init__(message)
        self.limit = limit


def limit_of(error: SourceError) -> Limit | None:
    """The limit that a request ran into, None where it failed for another reason."""
    return error.limit if isinstance(error, TooMuchError) else _told(str(error), OURS)


class RawSession(BoundedSession):
    """A session for raw samples, which tells limits from other refusals."""

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **options: Any) -> requests.Response:  # noqa: ANN401 # the signature of requests
        """As `BoundedSession.request`.

        Raises:
            TooMuchError: refused because of a limit, whatever the status.
        """
        answers: list[requests.Response] = []
        hook = (options.pop("hooks", None) or {}).get("response")

        def keep(response: requests.Response, **_: Any) -> None:  # noqa: ANN401 # the signature of a hook
            answers.append(response)

        options["hooks"] = {"response": [keep, *([hook] if hook else [])]}
        try:
            return super().request(method, url, *args, **options)
        except SourceError as error:
            limit = _limit_in(answers[-1]) if answers else None
            if limit is None:
                raise
            raise TooMuchError(str(error), limit) from error


def _limit_in(response: requests.Response) -> Limit | None:
    """The limit that a refusal is about."""
    if response.status_code == 200 or not isinstance(response._content, bytes):  # noqa: SLF001 # never read
        return None
    told = _told(response.text, THEIRS)
    if told is None and response.status_code in STATUSES:
        return Limit(line(f"{response.status_code} {response.text}"), "", STATUSES[response.status_code])
    return told


def _told(text: str, table: Sequence[tuple[str, str, str]]) -> Limit | None:
    for words, setting, of in table:
        found = re.search(words, text)
        if found:
            return Limit(line(found[0]), setting, of)
    return None
