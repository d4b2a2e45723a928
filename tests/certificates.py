"""Certificates of a test, made by openssl in its own folder: authorities, servers, clients, and the wrong ones."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

DAYS = 30
HERE = "DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path


class Authority:
    """Who signs: a self-signed certificate of its own, in a folder of its own."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.own = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl(
            "req", "-x509", *_new_key(self.own), "-subj", f"/CN={name}", "-days", str(DAYS), "-out", self.own.cert,
            "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip

    def sign(self, name: str, *, names: str = HERE, use: str = "serverAuth", days: int = DAYS) -> Pair:
        """A certificate for `names`, good for `days` from now; with -1 it ended yesterday."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(
            f"subjectAltName={names}\nextendedKeyUsage={use}\nkeyUsage=critical,digitalSignature\n"
            "basicConstraints=critical,CA:FALSE\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
        )
        _openssl("req", *_new_key(pair), "-subj", f"/CN={name}", "-out", request)
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.own.cert, "-CAkey", self.own.key, "-CAcreateserial",
            "-days", str(days), "-extfile", extensions, "-out", pair.cert,
        )  # fmt: skip
        return pair


def encrypted(pair: Pair) -> Pair:
    """The same with a key that needs a passphrase."""
    key = pair.key.with_suffix(".encrypted")
    _openssl("ec", "-in", pair.key, "-aes256", "-passout", "pass:s3cret", "-out", key)
    return Pair(pair.cert, key)


def _new_key(pair: Pair) -> tuple[str | Path, ...]:
    return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", pair.key


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
