"""A real Prometheus that lets not everybody in: TLS, certificates of clients, passwords, a path prefix, all its own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.demo.servers import PrometheusBinary, free_port
from tests.certificates import Authority, Pair
from tests.conftest import RealClock

READY_WITHIN_SECONDS = 60
READY = "Server is ready to receive web requests"
USER = "reader"
PASSWORD = "p:ss w0rd-s3cret"  # noqa: S105 # of a test server
PASSWORD_HASH = "$2b$04$abcdefghijklmnopqrstuuGUTdK49/pROXb9LNNjPL.teHk4.NkJG"  # noqa: S105 # bcrypt of it, at cost 4


@contextmanager
def secured_prometheus(
    binary: PrometheusBinary,
    folder: Path,
    *,
    pair: Pair | None = None,
    clients: Authority | None = None,
    password: bool = False,
    prefix: str = "",
    out_of_order: str = "0s",
) -> Iterator[str]:
    """Address of one on the data in `folder/data`, with a certificate, wanting one of `clients`, a password, or all."""
    web, port = folder / "web.yml", free_port()
    lines = [f"basic_auth_users: {{{USER}: '{PASSWORD_HASH}'}}"] if password else []
    if pair is not None:
        tls = f"cert_file: {pair.cert}, key_file: {pair.key}"
        if clients is not None:
            tls += f", client_auth_type: RequireAndVerifyClientCert, client_ca_file: {clients.own.cert}"
        lines.append(f"tls_server_config: {{{tls}}}")
    web.write_text("\n".join(lines))
    (folder / "prometheus.yml").write_text(f"storage: {{tsdb: {{out_of_order_time_window: {out_of_order}}}}}")
    command = [
        str(binary.prometheus), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=10y", f"--web.config.file={web}", f"--web.listen-address=127.0.0.1:{port}",
        f"--web.route-prefix={prefix or '/'}", "--web.enable-remote-write-receiver",
    ]  # fmt: skip
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        url = f"{'https' if pair else 'http'}://127.0.0.1:{port}{prefix}"
        ends = RealClock().monotonic() + READY_WITHIN_SECONDS
        while READY not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert RealClock().monotonic() < ends, log.read_text()
            RealClock().sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()
