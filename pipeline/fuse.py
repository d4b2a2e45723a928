"""Limits on a whole HTTP exchange: of time, however slowly its answer drips; of bytes, however small it is packed."""

import socket
import threading
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx

PACKINGS = ("identity", "gzip")  # one layer: httpx unpacks as many as an answer names, each a thousandfold, at once


class OversizedError(Exception):
    """An answer longer than it may be."""


class Fuse:
    """Shuts a request's socket down when its time is over: httpx limits single reads, and a drip is many of them."""

    def __init__(self, seconds: float) -> None:
        self.blown = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._blow)
        self._timer.daemon = True

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore; remembers the newest socket, plain or TLS."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self.hold(info["return_value"].get_extra_info("socket"))

    def hold(self, newest: socket.socket | None) -> None:
        """Shut this socket down when the time is over, or at once where it is."""
        self._socket = newest
        if self.blown:
            self._blow()

    def _blow(self) -> None:
        self.blown = True
        if self._socket is not None:
            with suppress(OSError):  # already closed by the other side
                self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "Fuse":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def read_body(response: httpx.Response, max_bytes: int) -> bytes:
    """The unpacked body of a streamed answer; no more than `max_bytes` of it are ever held, and one piece of the wire.

    Raises:
        OversizedError: it is longer.
        httpx.DecodingError: packed otherwise than by gzip once, or damaged.
    """
    packing = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in PACKINGS:
        raise httpx.DecodingError(f"its answer is packed as {packing[:20]!r}, which was not asked for")
    unpacker, body = zlib.decompressobj(zlib.MAX_WBITS | 16) if packing == "gzip" else None, bytearray()
    try:
        for piece in response.iter_raw():
            body += piece if unpacker is None else unpacker.decompress(piece, max_bytes + 1 - len(body))
            if len(body) > max_bytes:
                raise OversizedError
    except zlib.error as error:
        raise httpx.DecodingError(str(error)) from None
    if body and unpacker is not None and not unpacker.eof:
        raise httpx.DecodingError("its answer broke off")
    return bytes(body)
