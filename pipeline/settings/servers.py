"""The servers a configuration names: where samples are read, where series are written, the limits of each call."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from pipeline.credentials import Credentials, Part
from pipeline.settings.values import Duration, Url


class PrometheusEndpoint(Credentials):
    """One Prometheus-compatible address that a cluster's samples are read from."""

    url: Url
    selector: str = "{}"
    replica_of: str | None = None
    transport: Literal["auto", "query", "remote_read"] = "auto"


class StoreSettings(Credentials):
    """One store that derived series are written to."""

    url: Url
    name: str = ""
    query_url: Url = ""
    horizon: Duration | None = None

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
