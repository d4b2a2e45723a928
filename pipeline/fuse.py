"""A time limit on a whole HTTP exchange, however slowly its answer drips."""

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


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
            self._socket = info["return_value"].get_extra_info("socket")
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
