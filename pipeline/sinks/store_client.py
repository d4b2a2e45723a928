"""The HTTP client of one store: its certificates, its signatures, and nothing of proxies or .netrc files."""

from collections.abc import Mapping

import httpx

from pipeline.credentials.sigv4 import Signer
from pipeline.credentials.tls import Tls
from pipeline.errors import RemoteWriteError
from pipeline.settings import StoreSettings


class StoreTransport(httpx.HTTPTransport):
    """Connections as a store's settings want them; each with one request, so files of TLS are those of its client.

    Raises:
        ConfigError: a file is missing or is not what its key says; botocore is not installed.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._tls = Tls(settings.ca_file, settings.cert_file, settings.key_file, settings.server_name)
        self._signer = Signer(**settings.sigv4.model_dump()) if settings.sigv4 is not None else None
        if self._signer is not None:
            self._signer.check()
        is_secured = any(url.startswith("https:") for url in (settings.url, settings.query_url))
        verify = self._tls.context() if is_secured else False  # no redirect leads from http to https
        super().__init__(verify=verify, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it signed; what is wrong with certificates does not pass by itself.

        Raises:
            RemoteWriteError: (`unauthorized`) one of us does not trust the other.
        """
        if self._tls.server_name is not None:
            request.extensions = {**request.extensions, "sni_hostname": self._tls.server_name}
        if self._signer is not None:
            request.url = request.url.copy_with(query=request.url.query.replace(b"+", b"%20"))  # a space is signed so
            signed = self._signer.signed(request.method, str(request.url), request.headers, request.read())
            request.headers.update(signed)
        try:
            return super().handle_request(request)
        except httpx.TransportError as error:
            verdict = self._tls.verdict(str(error))
            if verdict is None:
                raise
            where = request.url.copy_with(query=None)
            raise RemoteWriteError(f"{where} {verdict}", "unauthorized") from None


def open_client(settings: StoreSettings) -> httpx.Client:
    """The client of one store; compressing what a near one answers costs more than it saves."""
    return httpx.Client(transport=StoreTransport(settings), trust_env=False, headers={"Accept-Encoding": "identity"})


def check(settings: StoreSettings, env: Mapping[str, str]) -> None:
    """Whether all is there that a store is to be shown, without asking it.

    Raises:
        ConfigError: a secret, a certificate or botocore is not there.
    """
    settings.header(env)
    StoreTransport(settings).close()
