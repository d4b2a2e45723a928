"""Secrets of a configuration: how they are given, and no way to get out."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from tests.config_texts import FULL, SMALL, read

SECRET = "hunter2-s3cret"  # noqa: S105 # what must never be seen


def test_a_bearer_token_and_a_password_become_their_header(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{SECRET}\n")
    settings = read(tmp_path, FULL.replace("/run/secrets/token", str(token)))
    assert settings.remote_write[0].header({}) == {"Authorization": f"Bearer {SECRET}"}
    assert settings.clusters[0].prometheus[0].header({"PASSWORD": "p:ä"}) == {"Authorization": "Basic cmVhZGVyOnA6w6Q="}
    assert settings.remote_write[1].header({}) == {}


def test_no_secret_is_in_the_settings_whatever_is_done_with_them(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(SECRET)
    settings = read(tmp_path, FULL.replace("/run/secrets/token", str(token)), PASSWORD=SECRET)
    settings.remote_write[0].header({})
    settings.clusters[0].prometheus[0].header({"PASSWORD": SECRET})
    assert SECRET not in f"{settings!r} {settings!s} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    "content", [f"{SECRET}\n{SECRET}", f"{SECRET}\x00", f"{SECRET}ä", ""], ids=["lines", "nul", "not ASCII", "empty"]
)
def test_no_secret_is_in_the_error_about_it(content: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(content, encoding="utf-8")
    settings = read(tmp_path, FULL.replace("/run/secrets/token", str(tmp_path / "token")))
    with pytest.raises(ConfigError) as caught:
        settings.remote_write[0].header({})
    assert str(tmp_path / "token") in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_secret_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff" + SECRET.encode())
    settings = read(tmp_path, FULL.replace("/run/secrets/token", str(tmp_path / "token")))
    with pytest.raises(ConfigError, match="is not text") as caught:
        settings.remote_write[0].header({})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_a_password_in_an_address_is_refused_without_showing_it(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="credentials do not belong in an address") as caught:
        read(tmp_path, SMALL.replace("http://", f"{scheme}://u:{SECRET}@"))
    assert SECRET not in str(caught.value)


def test_a_mistyped_secret_value_is_not_shown(tmp_path: Path) -> None:
    store = f'[[remote_write]]\nurl = "http://a"\nbearer_token = "{SECRET}"\nhorizon = 3'
    with pytest.raises(ConfigError, match="unknown key") as caught:
        read(tmp_path, SMALL + store)
    assert SECRET not in str(caught.value)
