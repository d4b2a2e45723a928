"""Raw samples by the query API: an instant query with a range selector, whose answer is read from its bytes."""

from collections.abc import Callable, Iterator, Mapping

import requests

from pipeline.errors import SourceMalformed, SourceUnavailable
from pipeline.samples import Block
from pipeline.sources.prometheus.attempts import attempts
from pipeline.sources.prometheus.limits import RawSession
from pipeline.sources.prometheus.matrix_json import NoMatrixError, Wanted, read_matrix
from pipeline.sources.prometheus.particulars import Particulars
from pipeline.sources.prometheus.raw_blocks import MALFORMED, rising
from pipeline.sources.prometheus.splitting import in_parts
from pipeline.units import MS_PER_SECOND
from pipeline.window import Clock

PATH = "/api/v1/query"
ANNOTATION = "PromQL "  # begins what a Prometheus remarks about a query; any other warning is about its answer
LINES = "application/stream+json"


class RawQuery:
    """One server's query API for raw samples; implements `samples.Transport`.

    Args:
        url: the server, with its path prefix.
        session: sends the requests.
        particulars: what the server is told besides.
        clock: for retries.
        retry_seconds: their budget.
        on_warning: told of stamps that have several values.
    """

    def __init__(
        self, url: str, session: RawSession, particulars: Particulars, clock: Clock, retry_seconds: float,
        on_warning: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.url = url
        self._session, self._particulars = session, particulars
        self._clock, self._retry_seconds, self._on_warning = clock, retry_seconds, on_warning

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """Raw samples with `start_ms <= stamp <= end_ms`; see `samples.Transport`.

        Prometheus 3 and VictoriaMetrics take ranges as left-open, Prometheus 2 as closed: one millisecond more is asked
        for, and what lies outside is dropped. A VictoriaMetrics shows the marks of series that are gone as NaN, and has
        no other NaN; they are no samples.

        Raises:
            TooMuchError: this is more than the server gives at once.
        """
        size_ms = end_ms - start_ms + 1
        asked = {"query": f"{selector}[{size_ms}ms]", "time": f"{end_ms / MS_PER_SECOND:.3f}"}
        response = attempts(lambda: in_parts(lambda: self._post(asked), size_ms), self._clock, self._retry_seconds)
        marks = LINES in response.headers.get("Content-Type", "") or "X-Server-Hostname" in response.headers
        try:
            found = read_matrix(response.content, Wanted(start_ms, end_ms, nan=not marks))
            yield from rising(found, selector, self._on_warning)
        except NoMatrixError as error:
            raise SourceMalformed(
                f"{self.url} answers, but not as a Prometheus: check the address and its path prefix"
            ) from error
        except MALFORMED as error:
            raise SourceMalformed(f"{self.url} does not answer {selector} with raw float samples") from error

    def _post(self, asked: Mapping[str, str]) -> requests.Response:
        def post(more: Mapping[str, str]) -> requests.Response:
            return self._session.request("POST", self.url + PATH, data={**asked, **more})

        return self._particulars.told(post)


def whole_only(url: str, on_warning: Callable[[str], None]) -> Callable[[str], None]:
    """What to do with warnings beside raw samples: remarks about the query are passed on.

    Raises:
        SourceUnavailable: for any other, which is about what is missing.
    """

    def hear(warning: str) -> None:
        if not warning.startswith(ANNOTATION):
            raise SourceUnavailable(f"{url} answers in part only: {warning}")
        on_warning(warning)

    return hear
