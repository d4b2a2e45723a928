"""TLS of one address: whom we trust, what we show, and what each failure of a handshake asks the user to set."""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import certifi

from pipeline.errors import ConfigError

MISMATCHES = ("Hostname mismatch", "IP address mismatch")
REFUSED = re.compile(r"certificate verify failed: (.*?)(?: \(_ssl|$)")
VERDICTS = (  # what OpenSSL says of a server, and what to do
    ("certificate has expired", "shows a certificate that has expired: renew it there, or set this machine's clock"),
    ("certificate is not yet valid", "shows a certificate that is not valid yet: set this machine's clock, or wait"),
    ("WRONG_VERSION_NUMBER", "does not speak TLS there: write http://, or the port of its https"),
    ("RECORD_LAYER_FAILURE", "does not speak TLS there: write http://, or the port of its https"),
)
ALERTS = (  # what a server says of our certificate, or of its absence
    "ALERT_CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_UNKNOWN_CA", "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_UNKNOWN", "ALERT_UNSUPPORTED_CERTIFICATE", "ALERT_CERTIFICATE_REVOKED", "ALERT_ACCESS_DENIED",
    "ALERT_DECRYPT_ERROR", "ALERT_HANDSHAKE_FAILURE",
)  # fmt: skip


@dataclass(frozen=True)
class Tls:
    """Files of one address.

    Attributes:
        ca_file: who may sign its certificate; None for the public authorities.
        cert_file: what we show, PEM, with its chain.
        key_file: its key, where `cert_file` does not hold it.
        server_name: the name that its certificate has, where that is not the address' own.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None

    def context(self) -> ssl.SSLContext:
        """Reads the files. Chain, dates and name are always verified.

        Raises:
            ConfigError: a file is missing or is not what its key says.
        """
        for key, path in self._files():
            _require(key, path)
        try:
            context = ssl.create_default_context(cafile=self.ca_file or certifi.where())
        except ssl.SSLError:
            raise ConfigError(f"ca_file {self.ca_file} holds no certificate: it must be PEM") from None
        if self.cert_file is not None:
            try:
                context.load_cert_chain(self.cert_file, self.key_file, password="")  # an encrypted key fails, unasked
            except ssl.SSLError as error:
                raise ConfigError(self._unusable(str(error))) from None
        return context

    def stamps(self) -> tuple[tuple[int, int], ...]:
        """What changes when a file is replaced."""
        found = (path.stat() for _, path in self._files())
        try:
            return tuple((state.st_mtime_ns, state.st_ino) for state in found)
        except OSError:
            return ()  # on its way; `context` says what is missing

    def verdict(self, text: str) -> str | None:
        """What a failure says about certificates, as the end of a sentence about the server; None if it does not."""
        signs = text.upper().replace(" ", "_")
        if any(mismatch in text for mismatch in MISMATCHES):
            asked = f"server_name {self.server_name}" if self.server_name else "the name in url"
            return f"shows a certificate that is not of {asked}: set server_name to a name that the certificate has"
        for sign, advice in VERDICTS:
            if sign.upper().replace(" ", "_") in signs:
                return advice
        refused = REFUSED.search(text)
        if refused is not None:
            return (
                f"shows a certificate that this machine does not trust ({refused[1]}): "
                "set ca_file to the certificate of who signed it"
            )
        if not any(alert in signs for alert in ALERTS):
            return None
        if self.cert_file is None:
            return "wants a certificate of its clients: set cert_file and key_file"
        return (
            f"refuses the certificate of cert_file {self.cert_file}: it must not have expired and be of who it trusts"
        )

    def _files(self) -> Iterator[tuple[str, Path]]:
        files = {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file}
        yield from ((key, path) for key, path in files.items() if path is not None)

    def _unusable(self, reason: str) -> str:
        if "KEY_VALUES_MISMATCH" in reason:
            return f"key_file {self.key_file or self.cert_file} is not the key of cert_file {self.cert_file}"
        beside = f" with key_file {self.key_file}" if self.key_file else " (and no key_file is set)"
        return f"cert_file {self.cert_file}{beside} is no PEM certificate with its unencrypted key"


def _require(key: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"cannot read {key} {path}: {error.strerror}") from error
