"""The release archive that the demo may fetch: redirects are followed, but never from https to http."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.demo.binaries import Unavailable, unpack_archive
from tests.certificates import Authority
from tests.misbehaving import Answer, misbehaving


@contextmanager
def redirecting(authority: Authority, target: str) -> Iterator[str]:
    """An https server that sends everybody to `target`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the name of the base class
            pass

    pair = authority.sign("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_redirect_to_http_is_refused_before_anything_is_asked_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path / "keys")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.own.cert))
    with misbehaving(Answer(body=b"0  x")) as plain, redirecting(authority, plain.url) as url:
        with pytest.raises(Unavailable, match="redirected to http"):
            unpack_archive(tmp_path, url)
        assert plain.asked == []


def test_a_mirror_by_http_may_redirect_by_http(tmp_path: Path) -> None:
    with misbehaving(Answer(404)) as other, misbehaving(Answer(302, b"", {"Location": f"{other.url}/x"})) as mirror:
        with pytest.raises(Unavailable, match="404"):
            unpack_archive(tmp_path, mirror.url)
        assert len(other.asked) == 1
