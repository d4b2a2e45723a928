"""Addresses of the configuration: http and https, and no secret within."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from pipeline.settings import Settings
from pipeline.settings.intensity import ElectricityMapsTable, IntensitySettings
from pipeline.settings.servers import PrometheusEndpoint, StoreSettings

WRONG = [
    "file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1", "javascript:alert(1)", "unix:///var/run/docker.sock",
    "127.0.0.1:9090", "//127.0.0.1", "http://", "https://:443", "http://127.0.0.1:99999", "http:127.0.0.1", "",
    "http://user:s3cr3t@127.0.0.1", "https://127.0.0.1?token=s3cr3t", "https://127.0.0.1#s3cr3t", "data:,x",
]  # fmt: skip


def models(part: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """Every table of a configuration, at any depth."""
    if part in seen:
        return
    seen.add(part)
    yield part
    for field in part.model_fields.values():
        for inner in inner_types(field.annotation):
            yield from models(inner, seen)


def inner_types(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from inner_types(part)


ADDRESSES = sorted(
    ((table, name) for table in models(Settings, set()) for name in table.model_fields if name.endswith("url")),
    key=lambda one: (one[0].__name__, one[1]),
)


def test_every_address_of_the_configuration_is_found() -> None:
    assert {(PrometheusEndpoint, "url"), (StoreSettings, "url"), (StoreSettings, "query_url")} <= set(ADDRESSES)
    assert (ElectricityMapsTable, "base_url") in ADDRESSES
    assert len(ADDRESSES) >= 3 + sum("base_url" in t.model_fields for t in models(IntensitySettings, set()))


@pytest.mark.parametrize("wrong", WRONG)
def test_only_http_and_https_are_addresses_and_none_holds_a_secret(wrong: str) -> None:
    for table, name in ADDRESSES:
        with pytest.raises(ValidationError) as refused:
            table.model_validate(
                {"url": "http://127.0.0.1:9"} | {name: wrong} if "url" in table.model_fields else {name: wrong}
            )
        assert name in {str(place) for error in refused.value.errors() for place in error["loc"]}
        assert "s3cr3t" not in "; ".join(error["msg"] for error in refused.value.errors())
