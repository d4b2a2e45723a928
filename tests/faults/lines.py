"""A TCP line between the product and a server that does to connections what networks do, until it is told to heal."""

import random
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

Trouble: TypeAlias = Literal["drop", "delay", "reset", "truncate", "duplicate", "slow"]

PIECE_BYTES = 65_536
DELAY_SECONDS = 0.4
DRIP_BYTES, DRIP_SECONDS = 64, 0.002
CUT_BYTES = (0, 20, 150, 400)  # of an answer that pass: nothing, half a line, some of its head, of its body
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Line:
    """Connections to `target`; to a share of them the trouble happens.

    Args:
        target: address of the server.
        trouble: what happens.
        seed: of chance.
        share: of the connections that are in trouble.
        on_piece: told the number of each piece of what clients send, from 1, before it is passed on.

    Attributes:
        troubled: how many connections were in trouble.
        healed: when set, nothing happens any more.
    """

    def __init__(
        self,
        target: str,
        trouble: Trouble | None = None,
        seed: int = 0,
        share: float = 0.5,
        on_piece: Callable[[int], None] = lambda _number: None,
    ) -> None:
        parts = urlsplit(target)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._trouble, self._share, self._on_piece = trouble, share, on_piece
        self._chance, self._lock = random.Random(seed), threading.Lock()  # noqa: S311 # no secret
        self.troubled = self._pieces = 0
        self.healed = threading.Event()
        line = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):  # either side is gone
                    line._carry(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _carry(self, near: socket.socket) -> None:
        with self._lock:
            draw, cut = self._chance.random(), self._chance.choice(CUT_BYTES)
        trouble = self._trouble if draw < self._share and not self.healed.is_set() else None
        self.troubled += trouble is not None
        if trouble == "drop":
            return
        request = b""
        if trouble == "duplicate":
            request = _request(near)
            self._twice(request)
        with socket.create_connection(self._target) as far:
            far.sendall(request)
            upward = threading.Thread(target=self._pump, args=(near, far), daemon=True)
            upward.start()
            self._answer(far, near, trouble, cut)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                with self._lock:
                    self._pieces += 1
                    number = self._pieces
                self._on_piece(number)
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)

    def _twice(self, request: bytes) -> None:
        """As by a proxy that repeats what it thinks lost: the server has it once more than the answer is heard."""
        with socket.create_connection(self._target) as far:
            far.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            while far.recv(PIECE_BYTES):
                pass

    def _answer(self, far: socket.socket, near: socket.socket, trouble: Trouble | None, cut: int) -> None:
        passed = 0
        while piece := far.recv(PIECE_BYTES):
            if trouble in ("reset", "truncate") and passed + len(piece) > cut:
                near.sendall(piece[: cut - passed])
                if trouble == "reset":
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                near.close()
                return
            if trouble == "delay":
                time.sleep(DELAY_SECONDS)
            if trouble == "slow":
                for at in range(0, len(piece), DRIP_BYTES):
                    near.sendall(piece[at : at + DRIP_BYTES])
                    time.sleep(DRIP_SECONDS)
            else:
                near.sendall(piece)
            passed += len(piece)
        with suppress(OSError):
            near.shutdown(socket.SHUT_WR)

    @contextmanager
    def open(self) -> Iterator["Line"]:
        """Let connections come, until the context ends."""
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


def _request(near: socket.socket) -> bytes:
    """The first request of a connection, head and body."""
    request = b""
    while b"\r\n\r\n" not in request:
        piece = near.recv(PIECE_BYTES)
        if not piece:
            return request
        request += piece
    head, _, body = request.partition(b"\r\n\r\n")
    sizes = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = (sizes[0] if sizes else 0) - len(body)
    while left > 0 and (piece := near.recv(PIECE_BYTES)):
        request += piece
        left -= len(piece)
    return request
