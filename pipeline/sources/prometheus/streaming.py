"""An answer read by a thread of its own while what has come is worked on: bounded in time, bytes and memory."""

import threading
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any

import requests

from pipeline.errors import SourceError, SourceRejected, SourceUnavailable
from pipeline.sources.prometheus.chunked_body import pieces
from pipeline.sources.prometheus.session import BYTES_PER_MB, BoundedSession
from pipeline.window import Clock

LEAST_BYTES = 1 << 20  # are worth working on together
MOST_BYTES = 4 << 20  # wait for who is slower than the line
THREAD = "carbon-etl stream"


class NotStreamed(SourceError):
    """A server that answers a request for a stream with something else."""

    exit_code = 2


class Stream:
    """One request and its answer.

    Args:
        session: sends it.
        clock: for the limit of time.
        media_type: what a streamed answer calls itself; another is not read.
        timeout_seconds: how long the server may be waited for, all in all. Work between two batches does not count.
        max_bytes: of the answer.

    Attributes:
        status: of the answer, once there is one.
    """

    def __init__(
        self, session: BoundedSession, clock: Clock, media_type: str, timeout_seconds: float, max_bytes: int
    ) -> None:
        self._session, self._clock, self._media_type = session, clock, media_type
        self._timeout_seconds, self._max_bytes = timeout_seconds, max_bytes
        self._least_bytes = min(LEAST_BYTES, max_bytes)  # so that too much is seen as soon as it is
        self._change = threading.Condition()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._ended = self._given_up = False
        self._error: BaseException | None = None
        self._response: requests.Response | None = None
        self.status: int | None = None

    def post(self, where: str, url: str, body: bytes, headers: Mapping[str, str]) -> Generator[bytes, None, None]:
        """Send, and give a 200 in batches: what has come meanwhile. `where` stands for the address in messages.

        Raises:
            NotStreamed: a 200 of another media type.
            SourceError: as `BoundedSession.request`.
        """
        threading.Thread(target=self._ask, args=(where, url, body, headers), name=THREAD, daemon=True).start()
        left_seconds, size = self._timeout_seconds, 0
        try:
            while True:
                began = self._clock.monotonic()
                batch = self._take(left_seconds)
                left_seconds -= self._clock.monotonic() - began
                if batch is None:
                    raise SourceUnavailable(
                        f"{where} did not finish within {self._timeout_seconds:g} s (http.timeout_seconds)"
                    )
                size += len(batch)
                if size > self._max_bytes:
                    raise SourceRejected(
                        f"{where} sent more than {self._max_bytes // BYTES_PER_MB} MB: raise http.max_response_mb"
                    )
                if not batch:
                    break
                yield batch
            if self._error is not None:
                raise self._error
        finally:
            self._give_up()

    def _take(self, within_seconds: float) -> bytes | None:
        """What has come, empty at the end; None where it did not come in time."""
        with self._change:
            there = lambda: self._ended or self._held_bytes >= self._least_bytes  # noqa: E731 # a condition of four words
            if not self._change.wait_for(there, timeout=max(within_seconds, 0.0)):
                return None
            pieces, self._held, self._held_bytes = self._held, [], 0
            self._change.notify()
        return b"".join(pieces)

    def _give_up(self) -> None:
        """Let the thread go, wherever it waits."""
        with self._change:
            self._given_up = True
            self._change.notify()
        if not self._ended and self._response is not None:
            with suppress(RuntimeError, ValueError):  # it has just come to its end
                self._response.raw.shutdown()

    def _ask(self, where: str, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        try:
            response = self._session.request(
                "POST", url, data=body, headers=headers, hooks={"response": self._take_all}
            )
            if self._response is None:
                kind = response.headers.get("Content-Type", "no type")
                self._error = NotStreamed(f"{where} answers with {kind.partition(';')[0]}, not with {self._media_type}")
        except BaseException as error:  # noqa: BLE001 # raised again where the batches are taken
            self._error = error
        with self._change:
            self._ended = True
            self._change.notify()

    def _take_all(self, response: requests.Response, **_: Any) -> None:  # noqa: ANN401 # the signature of a hook
        """The body of the answer that was asked for; any other is left to the session."""
        self.status = response.status_code
        if self.status != 200 or not response.headers.get("Content-Type", "").startswith(self._media_type):
            return
        self._response = response
        for piece in pieces(response):
            with self._change:
                self._change.wait_for(lambda: self._given_up or self._held_bytes < MOST_BYTES)
                if self._given_up:
                    break
                self._held.append(piece)
                self._held_bytes += len(piece)
                if self._held_bytes >= self._least_bytes:
                    self._change.notify()
