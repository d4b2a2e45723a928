"""Remote read, streamed: a Prometheus' own chunks, decoded while the next ones come.

What the query API would say is what counts: stale markers are no samples; labels that the server adds are taken off
again; what is no float XOR chunk, and samples that contradict each other, are read again by the query API itself.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing

import numpy as np

from pipeline.errors import SourceError, SourceMalformed, SourceUnavailable
from pipeline.samples import Block, Transport
from pipeline.settings import HttpSettings
from pipeline.sources.prometheus.chunk_stream import Answer, ChunkStream, Given, Labels
from pipeline.sources.prometheus.external_labels import Query
from pipeline.sources.prometheus.frames import DamagedError
from pipeline.sources.prometheus.kernels import Kernels, chosen
from pipeline.sources.prometheus.raw_blocks import kept
from pipeline.sources.prometheus.read_request import NAME, matchers_of, read_request
from pipeline.sources.prometheus.selectors import Matcher
from pipeline.sources.prometheus.selectors import selector as written
from pipeline.sources.prometheus.session import BYTES_PER_MB, BoundedSession
from pipeline.sources.prometheus.streaming import Stream
from pipeline.sources.wording import line
from pipeline.window import Clock

FIRST_WAIT_SECONDS = 0.5
PATH = "/api/v1/read"
MEDIA_TYPE = "application/x-streamed-protobuf"
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Read-Version": "0.1.0",
    "Accept-Encoding": "identity",  # compressing costs the server more than it saves on a fast line
}
PLAIN = (Query((), {}),)
NOTHING = (Matcher(NAME, "=", "carbon_etl"),)  # some stores refuse a request without a name
READ_APART = 50  # so many series of a metric are read again one by one; more of them by their selector


class RemoteRead:
    """One server's remote read; implements `samples.Transport`.

    Args:
        url: the server, with its path prefix.
        session: sends the requests.
        http: limits.
        clock: for them.
        query_api: reads again what cannot be read here.
        on_warning: told what was read again, and why.
        kernels: asked, when the first samples are, for what works on them.

    Attributes:
        queries: what a selector is asked with besides, and what the server adds to the answers.
    """

    def __init__(
        self,
        url: str,
        session: BoundedSession,
        http: HttpSettings,
        clock: Clock,
        query_api: Transport,
        on_warning: Callable[[str], None],
        kernels: Callable[[], Kernels] = chosen,
    ) -> None:
        self.url = url
        self.queries: Sequence[Query] = PLAIN
        self._session, self._http, self._clock = session, http, clock
        self._query_api, self._on_warning, self._kernels = query_api, on_warning, kernels

    def refusal(self) -> str | None:
        """Why this server does not stream its chunks, None where it does. Asks once, for nothing.

        Raises:
            SourceUnavailable: it may answer later.
        """
        stream = self._stream()
        try:
            for _ in self._batches(stream, read_request([NOTHING], 0, 0)):
                pass
        except SourceUnavailable:
            raise
        except SourceError as error:
            return f"{PATH} answers {stream.status}" if stream.status not in (None, 200) else str(error)
        return None

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """Raw samples with `start_ms <= stamp <= end_ms`; see `samples.Transport`."""
        return (block for _, block in self.answers([selector], start_ms, end_ms))

    def answers(self, selectors: Sequence[str], start_ms: int, end_ms: int) -> Iterator[tuple[int, Block]]:
        """The same of several selectors, asked for in one request: with each block the number of its selector.

        Asked again where an answer breaks off: series that have been given are passed over then.
        """
        asked = [(*matchers_of(one), *query.matchers) for one in selectors for query in self.queries]
        body, own = read_request(asked, start_ms, end_ms), len(self.queries)
        answer, given = ChunkStream(start_ms, end_ms, [*self.queries] * len(selectors), self._kernels()), Given()
        deadline = self._clock.monotonic() + self._http.retry_seconds
        wait_seconds = FIRST_WAIT_SECONDS
        while True:
            try:
                for found in self._once(body, answer, given):
                    yield found.query // own, found
                break
            except SourceUnavailable as error:
                pause = error.retry_after_seconds or wait_seconds
                if self._clock.monotonic() + pause > deadline:
                    raise
            self._clock.sleep(pause)
            wait_seconds *= 2
        apart = ((given.foreign, "chunks that are no float XOR"), (given.contradictory, "two values at one stamp"))
        for series, why in apart:
            for number, selector in enumerate(selectors):
                those = [labels for query, told in series.items() if query // own == number for labels in told]
                for block in self._read_again(selector, those, why, start_ms, end_ms):
                    yield number, block

    def _once(self, body: bytes, answer: ChunkStream, given: Given) -> Iterator[Answer]:
        with closing(self._batches(self._stream(), body)) as batches:
            try:
                yield from answer.blocks(batches, given)
            except DamagedError as error:
                raise SourceUnavailable(f"{self.url}: its remote read arrives damaged ({error})") from None
            except (ValueError, IndexError, OverflowError) as error:
                raise SourceMalformed(
                    f"{self.url} does not answer remote read as documented ({line(str(error))}): "
                    'set transport = "query" for it'
                ) from error

    def _stream(self) -> Stream:
        limit = self._http.max_response_mb * BYTES_PER_MB
        return Stream(self._session, self._clock, MEDIA_TYPE, self._http.timeout_seconds, limit)

    def _batches(self, stream: Stream, body: bytes) -> Generator[bytes, None, None]:
        return stream.post(self.url, self.url + PATH, body, HEADERS)

    def _read_again(
        self, selector: str, series: Sequence[Labels], why: str, start_ms: int, end_ms: int
    ) -> Iterator[Block]:
        """Exactly these series, by the query API."""
        if not series:
            return
        self._on_warning(f"{len(series)} series of {selector} have {why}: they are read by the query API")
        conditions = [matcher for matcher in matchers_of(selector) if matcher.name != NAME]
        for metric in {labels[NAME] for labels in series}:
            wanted = [known(labels) for labels in series if labels[NAME] == metric]
            asked = [conditions]
            if metric is not None and len(wanted) <= READ_APART:
                asked = [[Matcher(name, "=", value) for name, value in sorted(one)] for one in wanted]
            for own in asked:
                text = selector if metric is None else written(metric, *own)
                for block in self._query_api.blocks(text, start_ms, end_ms):
                    yield from _among(block, set(wanted))


def known(labels: Labels) -> frozenset[tuple[str, str]]:
    """The labels of a series as one value, its metric's name left out."""
    return frozenset((name, value) for name, value in labels.items() if value is not None and name != NAME)


def _among(block: Block, wanted: set[frozenset[tuple[str, str]]]) -> Iterator[Block]:
    """The series of a block that are wanted."""
    rows = np.array([known(labels) in wanted for labels in block.labels.to_pylist()], dtype=np.bool_)
    if rows.any():
        yield kept(block, np.repeat(rows, np.diff(block.offsets)))
