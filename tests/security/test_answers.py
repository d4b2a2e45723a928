"""What any server may do to any client: redirect it, drip, never end, unpack into more than memory, tell its secret."""

import gzip
import socket
import threading
import time
import traceback
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.errors import CarbonEtlError
from tests.misbehaving import Answer, misbehaving
from tests.security.clients import CLIENTS, MEDIA_TYPE, MEGABYTE, PATIENT_SECONDS, SECRET

JSON = {"Content-Type": MEDIA_TYPE}
SECONDS = 0.5  # that a server without end is heard
BOMB = gzip.compress(b" " * (64 * MEGABYTE))


@contextmanager
def dripping(head: bytes, endless: bytes, seconds: float = 0.05) -> Iterator[str]:
    """A server that sends its head, then `endless` again and again, a piece each `seconds`."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                try:
                    connection.sendall(head)
                    while not done.wait(seconds):
                        connection.sendall(endless)
                except OSError:  # the client has gone
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        done.set()
        thread.join()


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_so_no_secret_reaches_another_origin(status: int, name: str) -> None:
    with misbehaving(Answer(body=b"{}", headers=JSON)) as other:
        away = Answer(status, b"", {"Location": f"{other.url}/steal"})
        with misbehaving(away) as server, pytest.raises(CarbonEtlError):
            CLIENTS[name](f"{server.url}/x", PATIENT_SECONDS)
        assert [SECRET in str(asked.authorization) for asked in server.asked] == [True]
        assert other.asked == []


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("packing", ["gzip", "gzip, gzip", "gzip, gzip, gzip"])
def test_an_answer_that_unpacks_into_much_more_is_cut_while_it_is_unpacked(packing: str, name: str) -> None:
    body = BOMB
    for _ in range(packing.count(",")):
        body = gzip.compress(body)
    headers = JSON | {"Content-Encoding": packing}
    with misbehaving(Answer(200 if name != "store_write" else 500, body, headers)) as server:
        tracemalloc.start()
        try:
            with pytest.raises(CarbonEtlError):
                CLIENTS[name](f"{server.url}/x", PATIENT_SECONDS)
            assert tracemalloc.get_traced_memory()[1] < 8 * MEGABYTE
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("name", CLIENTS)
def test_a_body_without_end_is_cut_by_its_bytes(name: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    with dripping(head, b" " * MEGABYTE, 0.0) as url, pytest.raises(CarbonEtlError, match=r"MB|bytes"):
        CLIENTS[name](url, PATIENT_SECONDS)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_body_without_end_is_cut_by_its_time(name: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    began = time.monotonic()
    with dripping(head, b" ") as url, pytest.raises(CarbonEtlError, match=r"within|longer"):
        CLIENTS[name](url, SECONDS)
    assert time.monotonic() - began < PATIENT_SECONDS


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.timeout(60)
def test_a_head_without_end_is_cut_by_its_time(name: str) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 16) as url, pytest.raises(CarbonEtlError):
        CLIENTS[name](url, SECONDS)


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 503])
def test_a_server_that_repeats_our_secret_is_not_repeated(status: int, name: str) -> None:
    said = f'{{"status": "error", "error": "Bearer {SECRET} is not known"}}'.encode()
    with misbehaving(Answer(status, said, JSON)) as server, pytest.raises(CarbonEtlError) as caught:
        CLIENTS[name](f"{server.url}/x", PATIENT_SECONDS)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("status", [400, 401, 500])
def test_what_a_server_says_is_one_line_without_commands_to_a_terminal(status: int, name: str) -> None:
    said = b"\x1b]0;owned\x07\x1b[2J\x9b31m no\r\nerror: all is well\xe2\x80\xae"
    with misbehaving(Answer(status, said)) as server, pytest.raises(CarbonEtlError) as caught:
        CLIENTS[name](f"{server.url}/x", PATIENT_SECONDS)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"error":' * 100_000], ids=["lists", "tables"])
@pytest.mark.parametrize("status", [400, 500])
def test_a_refusal_nested_without_end_is_still_a_refusal(status: int, body: bytes, name: str) -> None:
    with misbehaving(Answer(status, body, JSON)) as server, pytest.raises(CarbonEtlError):
        CLIENTS[name](f"{server.url}/x", PATIENT_SECONDS)


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("body", [b'{"error": ' + b"9" * 5000 + b"}", b"\xff\xfe\x00", b'"' * 9])
@pytest.mark.parametrize("status", [400, 500])
def test_a_refusal_that_is_no_document_is_still_a_refusal(status: int, body: bytes, name: str) -> None:
    with misbehaving(Answer(status, body, JSON)) as server, pytest.raises(CarbonEtlError):
        CLIENTS[name](f"{server.url}/x", PATIENT_SECONDS)


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize(
    "after", ["9" * 400, "-1", "nan", "1e999", "\u0663", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "x" * 5000]
)
def test_no_retry_after_breaks_a_client_or_holds_it(after: str, name: str) -> None:
    head = {"Retry-After": after.encode().decode("latin-1")}
    began = time.monotonic()
    with misbehaving(Answer(503, b"later", head)) as server, pytest.raises(CarbonEtlError):
        CLIENTS[name](f"{server.url}/x", PATIENT_SECONDS)
    assert time.monotonic() - began < PATIENT_SECONDS
