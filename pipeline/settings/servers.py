"""The servers a configuration names: where samples are read, where series are written, the limits of each call."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from pipeline.credentials import Credentials, Part
from pipeline.settings.values import Duration, Url

TLS_KEYS = ("ca_file", "cert_file", "key_file", "server_name")


class SigV4Settings(Part):
    """How requests to Amazon are signed; the keys are found by botocore's own chain."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    service: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "aps"
    profile: str | None = None
    role_arn: Annotated[str, Field(pattern=r"^arn:")] | None = None


class SecuredServer(Credentials):
    """An address with all that is needed to be let in there: credentials, TLS, signatures."""

    url: Url
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    sigv4: SigV4Settings | None = None

    @property
    def ways(self) -> list[str]:
        """The keys that each make an Authorization header."""
        return [*super().ways, *(["sigv4"] if self.sigv4 else [])]

    @model_validator(mode="after")
    def _tls_that_holds(self) -> Self:
        given = [key for key in TLS_KEYS if getattr(self, key) is not None]
        if given and urlsplit(self.url).scheme != "https":
            raise ValueError(f"{given[0]} is of TLS: write https:// in its url")
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is the key of cert_file: set both")
        return self


class PrometheusEndpoint(SecuredServer):
    """One Prometheus-compatible address that a cluster's samples are read from."""

    selector: str = "{}"
    replica_of: str | None = None
    merges_replicas: bool = False
    transport: Literal["auto", "query", "remote_read", "export"] = "auto"


class StoreSettings(SecuredServer):
    """One store that derived series are written to."""

    name: str = ""
    query_url: Url | Literal["none"] = ""
    horizon: Duration | None = None
    publish: Literal["samples", "blocks"] = "samples"
    data_folder: Path | None = None

    @model_validator(mode="after")
    def _blocks_that_can_be_read_back(self) -> Self:
        if self.data_folder is not None and self.publish != "blocks":
            raise ValueError('data_folder is where block sets are loaded: set publish = "blocks", too')
        if self.publish == "blocks" and self.query_url == "none":
            raise ValueError('publish = "blocks" needs a store that can be read: give its query_url')
        return self

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:  # noqa: ANN401 # the type of a raw TOML table
        if isinstance(values, dict) and isinstance(values.get("url"), str):
            parts = urlsplit(values["url"])
            base = values["url"].removesuffix("/").removesuffix("/api/v1/write")
            values = {"name": re.sub(r"[^a-z0-9.-]", "-", parts.netloc.lower()), "query_url": base} | values
        return values


class PublishSettings(Part):
    """What is written to the stores."""

    max_series: Annotated[int, Field(ge=1)] = 20_000
    horizon: Duration | None = None


class HttpSettings(Part):
    """Limits of every call out."""

    timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    retry_seconds: Annotated[float, Field(ge=0)] = 60.0
    max_response_mb: Annotated[int, Field(ge=1)] = 512
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
