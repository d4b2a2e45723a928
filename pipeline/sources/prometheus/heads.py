"""Connections that give the head of an answer its time: urllib3 limits single reads, and a drip is many of them."""

from http.client import HTTPException
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from pipeline.fuse import Fuse


class _Timed(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as urllib3 has it
        """The answer once its head is here, which takes no longer than one read may.

        Raises:
            TimeoutError: it is not here by then.
        """
        with Fuse(float(self.timeout or 0)) as fuse:
            fuse.hold(self.sock)
            try:
                answer = super().getresponse()
            except (OSError, HTTPException):
                if fuse.blown:
                    raise TimeoutError from None
                raise
        if fuse.blown:  # a head that breaks off counts as a whole one there
            answer.close()
            raise TimeoutError
        return answer


class _TimedTls(_Timed, HTTPSConnection):
    pass


class _Plain(HTTPConnectionPool):
    ConnectionCls = _Timed


class _Tls(HTTPSConnectionPool):
    ConnectionCls = _TimedTls


POOLS: dict[str, Any] = {"http": _Plain, "https": _Tls}
