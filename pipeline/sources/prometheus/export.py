"""The export of VictoriaMetrics, streamed: raw samples as lines of JSON, read while the next ones come.

Samples are those that the query API would show, whatever the server does about duplicates, but not held in its memory
all at once, and limited by `-search.maxExportSeries` and `-search.maxExportDuration` in place of the limits of queries.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from urllib.parse import urlencode

from pipeline.errors import SourceError, SourceMalformed, SourceUnavailable
from pipeline.samples import Block
from pipeline.settings import HttpSettings
from pipeline.sources.prometheus.attempts import attempts
from pipeline.sources.prometheus.export_lines import Lines, blocks_of, read_lines
from pipeline.sources.prometheus.raw_blocks import MALFORMED, rising
from pipeline.sources.prometheus.session import BYTES_PER_MB, BoundedSession
from pipeline.sources.prometheus.splitting import in_parts
from pipeline.sources.prometheus.streaming import Stream
from pipeline.sources.wording import line
from pipeline.units import MS_PER_SECOND
from pipeline.window import Clock

PATH = "/api/v1/export"
MEDIA_TYPE = "application/stream+json"
HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "identity"}
NOTHING = '{__name__="carbon_etl"}'
MOST_ROWS = 10_000  # of a line


class Export:
    """One server's export; implements `samples.Transport`.

    Args:
        url: the server, with its path prefix.
        session: sends the requests.
        http: limits.
        clock: for them.
        on_warning: told of stamps that have several values.
    """

    def __init__(
        self, url: str, session: BoundedSession, http: HttpSettings, clock: Clock, on_warning: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.url = url
        self._session, self._http, self._clock = session, http, clock
        self._on_warning = on_warning

    def refusal(self) -> str | None:
        """Why this server does not export, None where it does. Asks once, for nothing.

        Raises:
            SourceUnavailable: it may answer later.
        """
        stream = self._stream()
        try:
            said = b"".join(self._batches(stream, NOTHING, 0, 0))
        except SourceUnavailable:
            raise
        except SourceError as error:
            return f"{PATH} answers {stream.status}" if stream.status not in (None, 200) else str(error)
        return f"{PATH} answers what was not asked for" if said else None

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """Raw samples with `start_ms <= stamp <= end_ms`; see `samples.Transport`.

        Nothing is given before the answer is whole, for only then is it known that no line of a series is to come.

        Raises:
            TooMuchError: this is more than the server gives at once.
        """
        parts = attempts(
            lambda: in_parts(lambda: self._once(selector, start_ms, end_ms), end_ms - start_ms + 1),
            self._clock,
            self._http.retry_seconds,
        )
        try:
            yield from rising(blocks_of(parts, start_ms, end_ms), selector, self._on_warning)
        except MALFORMED as error:
            raise SourceMalformed(f"{self.url} does not export {selector} with labels that are texts") from error

    def _once(self, selector: str, start_ms: int, end_ms: int) -> list[Lines]:
        rest, parts = b"", []
        with closing(self._batches(self._stream(), selector, start_ms, end_ms)) as batches:
            for batch in batches:
                text = rest + batch
                end = text.rfind(b"\n") + 1
                rest = text[end:]
                if end:
                    parts.append(self._read(text[:end]))
        if rest:
            raise SourceUnavailable(f"{self.url}: its export ends within a line ({_said(rest)})")
        return parts

    def _read(self, text: bytes) -> Lines:
        try:
            return read_lines(text)
        except MALFORMED as error:
            last = text.splitlines()[-1]
            if not last.startswith(b"{"):
                raise SourceUnavailable(f"{self.url} gave up its export: {_said(last)}") from error
            raise SourceMalformed(
                f'{self.url} does not export as documented: set transport = "query" for it'
            ) from error

    def _stream(self) -> Stream:
        limit = self._http.max_response_mb * BYTES_PER_MB
        return Stream(self._session, self._clock, MEDIA_TYPE, self._http.timeout_seconds, limit)

    def _batches(self, stream: Stream, selector: str, start_ms: int, end_ms: int) -> Generator[bytes, None, None]:
        asked = {
            "match[]": selector, "start": f"{start_ms / MS_PER_SECOND:.3f}", "end": f"{end_ms / MS_PER_SECOND:.3f}",
            "max_rows_per_line": str(MOST_ROWS),
        }  # fmt: skip
        return stream.post(self.url, self.url + PATH, urlencode(asked).encode(), HEADERS)


def _said(text: bytes) -> str:
    return line(text.decode("utf-8", "replace"))
