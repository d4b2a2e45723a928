"""Every effect of this process on the warehouse and its stores, seen from outside the product; what befalls the n-th.

What Python's audit events tell (opening for writing, rename, unlink, mkdir, flock) comes from there; what they do not
(fsync, closing a lock, what is sent to a store and heard of it) from the functions that do it.
"""

import errno
import fcntl
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from pipeline.tables import TABLES

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
OF_PATHS = {"os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "os.truncate": 0, "os.chmod": 0, "os.link": 1}
LOCKS = ".locks"
LEAVES_NOTHING = ("fsync", "lock", "unlock", "question to store")  # to whoever comes after a death of the process alone


def points(effects: Sequence[str]) -> list[int]:
    """The numbers, from 1, of the effects before which a death leaves what no earlier one does."""
    before = ["", *effects]
    return [number for number in range(1, len(effects) + 1) if not before[number - 1].startswith(LEAVES_NOTHING)]


class Effects:
    """Writes the name of each effect to `log`, and lets something befall one of them.

    Args:
        root: the warehouse.
        ports: of the stores, on any host.
        log: descriptor that takes a line an effect.
        last: number of the effect, from 1; 0 for none.
        named: or its name, of which the first is meant.
        fate: what befalls it: the process gets a signal before it (`SIGKILL`, `SIGSTOP`), or it fails (`ENOSPC`, ...).
        delay_seconds: or so long after it the process ends by SIGALRM, which nothing here handles.
    """

    def __init__(
        self,
        root: Path,
        ports: Collection[int],
        log: int,
        last: int,
        named: str = "",
        fate: str = "SIGKILL",
        delay_seconds: float = 0.0,
    ) -> None:
        self._root, self._ports, self._log, self._delay_seconds = str(root), frozenset(ports), log, delay_seconds
        self._last, self._named, self._fate = last, named, fate
        self._count = 0
        self._unheard: set[int] = set()

    def watch(self) -> None:
        """From now on, to the end of the process."""
        sys.addaudithook(self._audit)
        fsync, close = os.fsync, os.close
        os.fsync = self._before(fsync, self._of_sync)
        os.close = self._before(close, self._of_close)
        for name in ("send", "sendall"):
            setattr(socket.socket, name, self._before(getattr(socket.socket, name), self._of_send))
        for name in ("recv", "recv_into"):
            setattr(socket.socket, name, self._before(getattr(socket.socket, name), self._of_hearing))

    def _happens(self, name: str) -> None:
        self._count += 1
        os.write(self._log, f"{name}\n".encode())
        if self._count == self._last or name == self._named:
            self._named = ""
            if self._delay_seconds:
                signal.setitimer(signal.ITIMER_REAL, self._delay_seconds)
            elif self._fate in signal.Signals.__members__:
                os.kill(os.getpid(), signal.Signals[self._fate])
            else:
                number = getattr(errno, self._fate)
                raise OSError(number, os.strerror(number))

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if flags & WRITING or (mode and set(mode) & set("wax+")):
                self._on_path("open", path)
        elif event in OF_PATHS:
            self._on_path(event.removeprefix("os."), arguments[OF_PATHS[event]])
        elif event == "fcntl.flock":
            self._on_path("unlock" if arguments[1] & fcntl.LOCK_UN else "lock", _path(arguments[0]))

    def _on_path(self, what: str, path: object) -> None:
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if text.startswith(self._root):
            self._happens(f"{what} {kind_of(text.removeprefix(self._root))}")

    def _of_sync(self, descriptor: int) -> None:
        self._on_path("fsync", _path(descriptor))

    def _of_close(self, descriptor: int) -> None:
        path = _path(descriptor)
        if path.startswith(f"{self._root}/{LOCKS}/"):
            self._on_path("unlock", path)

    def _of_send(self, line: socket.socket, content: bytes, *_: object) -> None:
        """A question counts once; of what is written each part that is sent, and the wait for the answer."""
        if not self._is_store(line):
            return
        if bytes(content[:5]) == b"POST ":
            self._unheard.add(line.fileno())
        self._happens("write to store" if line.fileno() in self._unheard else "question to store")

    def _of_hearing(self, line: socket.socket, *_: object) -> None:
        if line.fileno() in self._unheard:
            self._unheard.discard(line.fileno())
            self._happens("answer of store")

    def _is_store(self, line: socket.socket) -> bool:
        return line.family == socket.AF_INET and line.getpeername()[1] in self._ports

    @staticmethod
    def _before(function: Callable[..., Any], told: Callable[..., None]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:  # noqa: ANN401 # as what it stands for
            told(*arguments)
            return function(*arguments)

        return called


def kind_of(path: str) -> str:
    """What a path in the warehouse is, without the names of one run: `emissions`, `emissions folder`, `lock`, ..."""
    parts = Path(path).parts[1:]
    if not parts:
        return "warehouse"
    if parts[0] == LOCKS:
        return "locks" if len(parts) == 1 else re.sub(r"-.*", "", parts[1]) + " lock"
    if parts[0] in TABLES:
        name = parts[0] + (" temporary" if parts[-1].startswith(".") else "")
        return name if parts[-1].endswith((".parquet", ".tmp")) else f"{name} folder"
    return "carbon.duckdb" + (" temporary" if parts[0].startswith(".") else "")


def _path(descriptor: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return ""
