"""Chunked bodies put together wherever the line cuts them; broken ones and broken lines say so in time."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import HTTPError, ProtocolError

from pipeline.sources.prometheus.chunked_body import MOST_HEAD_BYTES, PIECE_BYTES, Chunked, pieces

HEADS = ["%x\r\n", "%X\r\n", "000%x\r\n", "%x;name=value\r\n", '%x ;a="b c";d\r\n']
ENDS = [b"0\r\n\r\n", b"000\r\n\r\n", b"0;x\r\nTrailer: 1\r\nOther: 2\r\n\r\n"]


def written(contents: list[bytes], head: str = HEADS[0], end: bytes = ENDS[0]) -> bytes:
    return b"".join((head % len(one)).encode() + one + b"\r\n" for one in contents) + end


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.sampled_from(HEADS), st.sampled_from(ENDS),
    st.integers(1, 50),
)  # fmt: skip
def test_the_content_is_whole_wherever_the_line_cuts_it(contents: list[bytes], head: str, end: bytes, cut: int) -> None:
    body, chunked, found = written(contents, head, end), Chunked(), b""
    for at in range(0, len(body), cut):
        assert not chunked.ended
        found += chunked.content(body[at : at + cut])
    assert (found, chunked.ended) == (b"".join(contents), True)


@pytest.mark.parametrize("noise", [b"-5\r\n", b"1_0\r\n", b"+a\r\n", b" 5\r\n", b"5\n", b"no number", b"\r\n"])
def test_what_is_no_head_of_a_chunk_is_refused_and_never_taken_for_content(noise: bytes) -> None:
    chunked, body = Chunked(), b"3\r\nabc\r\n" + noise + bytes(2 * MOST_HEAD_BYTES)
    with pytest.raises(ProtocolError, match="not in chunks"):
        chunked.content(body)


def test_a_chunk_longer_than_its_head_says_is_refused() -> None:
    with pytest.raises(ProtocolError):
        Chunked().content(b"3\r\nabcd\r\n0\r\n\r\n" + bytes(MOST_HEAD_BYTES))


@contextmanager
def sending(*parts: bytes, close: bool = True) -> Iterator[str]:
    """A server that reads a request and sends this on the same connection, time and again, or sends it and waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for part in parts:
                    connection.recv(1 << 16)
                    connection.sendall(part)
                if not close:
                    ended.wait(20)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        ended.set()
        thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = [bytes([i]) * 5_000 for i in range(200)]


def got(session: requests.Session, url: str, timeout_seconds: float = 15) -> bytes:
    return b"".join(pieces(session.get(url, stream=True, timeout=timeout_seconds)))


def test_a_connection_serves_again_when_an_answer_was_read_whole() -> None:
    assert sum(map(len, LONG)) > 2 * PIECE_BYTES
    with sending(HEAD + written(LONG), HEAD + written([b"x"])) as url, requests.Session() as session:
        assert got(session, url) == b"".join(LONG)
        assert got(session, url) == b"x"


def test_a_body_that_is_not_chunked_is_read_all_the_same() -> None:
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour"
    with sending(plain) as url, requests.Session() as session:
        assert got(session, url) == b"four"


def test_a_compressed_body_is_decompressed() -> None:
    import gzip  # noqa: PLC0415 # one use

    packed = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + written([gzip.compress(b"content")])
    with sending(packed) as url, requests.Session() as session:
        assert got(session, url) == b"content"


@pytest.mark.parametrize("kept", [0, 1, 10, 5_000])
def test_an_answer_that_breaks_off_is_an_error(kept: int) -> None:
    with (
        sending(HEAD + written(LONG)[: -kept - 1]) as url,
        requests.Session() as session,
        pytest.raises(HTTPError, match="breaks off"),
    ):
        got(session, url)


def test_a_server_that_falls_silent_is_waited_for_no_longer_than_the_time_out() -> None:
    with (
        sending(HEAD + written(LONG)[:-3], close=False) as url,
        requests.Session() as session,
        pytest.raises(requests.Timeout),
    ):
        got(session, url, 1)
