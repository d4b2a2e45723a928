"""An answer read by a thread of its own while what has come is worked on: bounded in time, bytes and memory."""

import threading
from collections.abc import Generator, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import requests

from pipeline.errors import SourceError, SourceRejected, SourceUnavailable
from pipeline.sources.prometheus.session import BYTES_PER_MB, BoundedSession
from pipeline.window import Clock

PIECE_BYTES = 1 << 18
PIECES_AHEAD = 48
THREAD = "carbon-etl stream"


class NotStreamed(SourceError):
    """A server that answers a request for a stream with something else."""

    exit_code = 2


class Stream:
    """One request and the pieces of its answer.

    Args:
        session: sends it.
        clock: for the limit of time.
        media_type: what a streamed answer calls itself; another is not read.
        timeout_seconds: how long the server may be waited for, all pieces together. Work between them does not count.
        max_bytes: of the answer.
    """

    def __init__(
        self, session: BoundedSession, clock: Clock, media_type: str, timeout_seconds: float, max_bytes: int
    ) -> None:
        self._session, self._clock, self._media_type = session, clock, media_type
        self._timeout_seconds, self._max_bytes = timeout_seconds, max_bytes
        self._pieces: SimpleQueue[bytes | BaseException | None] = SimpleQueue()  # None: the end
        self._room = threading.Semaphore(PIECES_AHEAD)
        self._over = threading.Event()
        self._response: requests.Response | None = None
        self.status: int | None = None

    def post(self, where: str, url: str, body: bytes, headers: Mapping[str, str]) -> Generator[bytes, None, None]:
        """Send, and give the pieces of a 200; `where` stands for the address in messages.

        Raises:
            NotStreamed: a 200 of another media type.
            SourceError: as `BoundedSession.request`.
        """
        threading.Thread(target=self._ask, args=(where, url, body, headers), name=THREAD, daemon=True).start()
        left_seconds, size, ended = self._timeout_seconds, 0, False
        try:
            while True:
                began = self._clock.monotonic()
                try:
                    piece = self._pieces.get(timeout=max(left_seconds, 0.0))
                except Empty:
                    raise SourceUnavailable(
                        f"{where} did not finish within {self._timeout_seconds:g} s (http.timeout_seconds)"
                    ) from None
                left_seconds -= self._clock.monotonic() - began
                if not isinstance(piece, bytes):
                    ended = True
                    if piece is not None:
                        raise piece
                    return
                self._room.release()
                size += len(piece)
                if size > self._max_bytes:
                    raise SourceRejected(
                        f"{where} sent more than {self._max_bytes // BYTES_PER_MB} MB: raise http.max_response_mb"
                    )
                yield piece
        finally:
            if not ended:
                self._give_up()

    def _give_up(self) -> None:
        """Let the thread go, wherever it waits."""
        self._over.set()
        self._room.release()
        if self._response is not None:
            with suppress(RuntimeError, ValueError):  # it has just come to its end
                self._response.raw.shutdown()

    def _ask(self, where: str, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        end: BaseException | None = None
        try:
            response = self._session.request(
                "POST", url, data=body, headers=headers, hooks={"response": self._take_all}
            )
            if self._response is None:
                kind = response.headers.get("Content-Type", "no type")
                end = NotStreamed(f"{where} answers with {kind.partition(';')[0]}, not with {self._media_type}")
        except BaseException as error:  # noqa: BLE001 # raised again where the pieces are taken
            end = error
        self._pieces.put(end)

    def _take_all(self, response: requests.Response, **_: Any) -> None:  # noqa: ANN401 # the signature of a hook
        """The body of the answer that was asked for; any other is left to the session."""
        self.status = response.status_code
        if self.status != 200 or not response.headers.get("Content-Type", "").startswith(self._media_type):
            return
        self._response = response
        while not self._over.is_set() and (piece := response.raw.read(PIECE_BYTES, decode_content=True)):
            self._room.acquire()
            self._pieces.put(piece)
