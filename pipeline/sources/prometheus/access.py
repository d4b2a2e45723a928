"""How one address lets our requests in: its headers, its signatures and its TLS, for every request of a session."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from socket import create_connection
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from pipeline.credentials import echoes
from pipeline.credentials.sigv4 import SESSION_HEADER, Signer
from pipeline.credentials.tls import Tls
from pipeline.errors import SourceError, SourceRejected, SourceUnavailable
from pipeline.settings import PrometheusEndpoint
from pipeline.sources.wording import failure

CUT = "EOF occurred in violation of protocol"
ALERT_SECONDS = 2.0
HTTPS_PORT = 443


class TlsAdapter(HTTPAdapter):
    """Connections by a `Tls` and nothing else; new ones once a file of it was replaced.

    Raises:
        ConfigError: a file is missing or is not what its key says.
    """

    def __init__(self, tls: Tls) -> None:
        super().__init__()
        self.tls = tls
        self._stamps, self._context = tls.stamps(), tls.context()

    def cert_verify(self, *_: Any) -> None:  # noqa: ANN401 # the signature of requests
        """Leaves the context as it is: requests would add the public authorities to the one that `ca_file` names."""

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: bool | str,  # noqa: FBT001 # the signature of requests
        cert: str | tuple[str, str] | None = None,
    ) -> tuple[Any, Any]:
        """Where to connect, and how; a new context is a new connection."""
        stamps = self.tls.stamps()
        if stamps != self._stamps:
            self._context, self._stamps = self.tls.context(), stamps
        name = {"server_hostname": self.tls.server_name} if self.tls.server_name else {}
        where, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return where, {"ssl_context": self._context, "cert_reqs": "CERT_REQUIRED"} | name

    def alert(self, url: str) -> str:
        """What a server says after a handshake if nothing is asked: who is refused while he writes does not hear it."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        try:
            with (
                create_connection((host, parts.port or HTTPS_PORT), timeout=ALERT_SECONDS) as plain,
                self._context.wrap_socket(plain, server_hostname=self.tls.server_name or host) as line,
            ):
                line.recv(1)
        except OSError as error:
            return str(error)
        return ""


@dataclass(frozen=True)
class Access:
    """What a session needs besides an address.

    Attributes:
        header: headers with credentials, read anew for each request.
        signer: signs each request, where that is wanted.
        adapter: connects to an https address.
        secrets: what of `header` nobody may see.
    """

    header: Callable[[], Mapping[str, str]] = dict
    signer: Signer | None = None
    adapter: TlsAdapter | None = None
    secrets: Callable[[], Iterable[str]] = tuple

    @classmethod
    def of(cls, endpoint: PrometheusEndpoint, env: Mapping[str, str]) -> Self:
        """Of one endpoint of the config; all that can be found wrong without asking a server is found here.

        Raises:
            ConfigError: a secret, a certificate or botocore is not there.
        """
        adapter = signer = None
        if urlsplit(endpoint.url).scheme == "https":
            adapter = TlsAdapter(Tls(endpoint.ca_file, endpoint.cert_file, endpoint.key_file, endpoint.server_name))
        if endpoint.sigv4 is not None:
            signer = Signer(**endpoint.sigv4.model_dump())
            signer.check()
        endpoint.header(env)
        return cls(partial(endpoint.header, env), signer, adapter, partial(endpoint.secrets, env))

    def admit(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Called by requests with each one that is ready otherwise."""
        request.headers.update(self.header())
        if self.signer is not None and request.method is not None and request.url is not None:
            parts = urlsplit(request.url)
            request.url = parts._replace(query=parts.query.replace("+", "%20")).geturl()  # a space is signed as %20
            request.headers.update(self.signer.signed(request.method, request.url, request.headers, request.body))
        return request

    def failure(self, error: Exception, where: str) -> SourceError:
        """The error of a request that got no whole answer; what is wrong with certificates does not pass by itself."""
        text = str(error)
        if CUT in text and self.adapter is not None:
            text = self.adapter.alert(where) or text
        verdict = (self.adapter.tls if self.adapter is not None else Tls()).verdict(text)
        if verdict is not None:
            return SourceRejected(f"{where} {verdict}")
        if CUT in str(error):
            return SourceUnavailable(f"cannot reach {where}: it closed the connection without an answer")
        return failure(error, where)

    def unechoed(self, response: requests.Response) -> bytes:
        """A server's words without the secrets that it was sent."""
        return echoes.without(response.content, (*self.secrets(), response.request.headers.get(SESSION_HEADER, "")))


OPEN = Access()
