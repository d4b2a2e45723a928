"""What an expression gives at evenly spaced stamps: one range query, or as many queries as a server wants."""

import json
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import requests

from pipeline.errors import SourceMalformed
from pipeline.samples import Block
from pipeline.sources.prometheus.attempts import attempts
from pipeline.sources.prometheus.limits import TIME, Limit, RawSession, TooMuchError
from pipeline.sources.prometheus.matrix_json import NoMatrixError, Wanted, read_matrix
from pipeline.sources.prometheus.particulars import Particulars
from pipeline.sources.prometheus.raw_blocks import MALFORMED, block_within
from pipeline.sources.prometheus.splitting import Splitting, in_parts
from pipeline.units import MS_PER_SECOND
from pipeline.window import Clock

MOVED = Limit("it answers a range at stamps of its own", "", TIME)  # as caches in front of servers do


class Instants:
    """One server's query API for expressions.

    Args:
        url: the server, with its path prefix.
        session: sends the requests.
        particulars: what the server is told besides.
        clock: for retries.
        retry_seconds: their budget.
        most_samples: that are asked for at once.
    """

    def __init__(
        self, url: str, session: RawSession, particulars: Particulars, clock: Clock, retry_seconds: float,
        most_samples: int,
    ) -> None:  # fmt: skip
        self._url, self._session, self._particulars = url, session, particulars
        self._clock, self._retry_seconds = clock, retry_seconds
        self._splitting = Splitting(url, most_samples)

    def blocks(self, expression: Callable[[str], str], selector: str, at_ms: range) -> Iterator[Block]:
        """The values at those stamps of an expression of a selector, which must be a union over its series.

        Series of the answer may come in several blocks, and a value in several of them where series were shared out.
        """

        def ask(part: str, start_ms: int, end_ms: int) -> Iterator[Block]:
            before = -((at_ms.start - start_ms) // at_ms.step)
            there = range(at_ms.start + before * at_ms.step, min(end_ms + 1, at_ms.stop), at_ms.step)
            return self._read(expression(part), there) if there else iter(())

        return self._splitting.blocks(ask, selector, at_ms.start, at_ms[-1] + at_ms.step - 1)

    def _read(self, query: str, at_ms: range) -> Iterator[Block]:
        """One stamp is asked for as an instant, which nobody moves."""
        first, last, step = (f"{ms / MS_PER_SECOND:.3f}" for ms in (at_ms.start, at_ms[-1], at_ms.step))
        alone = len(at_ms) == 1
        path, when = (
            ("query", {"time": first}) if alone else ("query_range", {"start": first, "end": last, "step": step})
        )

        def post(more: Mapping[str, str]) -> requests.Response:
            data = {"query": query, **when, **more}
            return self._session.request("POST", f"{self._url}/api/v1/{path}", data=data)

        response = attempts(
            lambda: in_parts(lambda: self._particulars.told(post), len(at_ms) * at_ms.step),
            self._clock, self._retry_seconds,
        )  # fmt: skip
        try:
            yield from _vector(response.content, at_ms.start) if alone else _matrix(response.content, at_ms)
        except (NoMatrixError, *MALFORMED) as error:
            raise SourceMalformed(f"{self._url} does not answer {query!r} as a Prometheus") from error


def _vector(body: bytes, at_ms: int) -> Iterator[Block]:
    items = json.loads(body)["data"]["result"]
    values = np.array([float(item["value"][1]) for item in items], dtype=np.float64)
    one = np.ones(len(items), dtype=np.int64)
    block = block_within([item["metric"] for item in items], one, at_ms * one, values, one > 0)
    if block is not None:
        yield block


def _matrix(body: bytes, at_ms: range) -> Iterator[Block]:
    around = Wanted(at_ms.start - at_ms.step, at_ms[-1] + at_ms.step)
    for block in read_matrix(body, around):
        if not np.isin(block.stamps_ms, at_ms).all():
            raise TooMuchError(MOVED.said, MOVED)
        yield block
