"""Credentials of an address: never values in the config, only the names of variables or files, read at each call."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from pipeline.errors import ConfigError


class Part(BaseModel):
    """Base of every part: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Credentials(Part):
    """How to authenticate: a bearer token, or a user with a password; both only by variable or file."""

    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    bearer_token_env: str | None = None
    bearer_token_file: Path | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        bearer = [self.bearer_token_env, self.bearer_token_file]
        password = [self.password_env, self.password_file]
        if sum(x is not None for x in bearer) > 1 or sum(x is not None for x in password) > 1:
            raise ValueError("give a secret once: by _env or by _file")
        if any(bearer) and (self.username or any(password)):
            raise ValueError("a bearer token and a password exclude each other")
        if (self.username is None) != (not any(password)):
            raise ValueError("username needs password_env or password_file, and they need it")
        if ":" in (self.username or ""):
            raise ValueError("a username cannot hold ':'")
        return self

    def header(self, env: Mapping[str, str]) -> dict[str, str]:
        """The Authorization header, read anew at each call because mounted tokens rotate; empty without credentials."""
        token = secret(self.bearer_token_env, self.bearer_token_file, env)
        if token is not None:
            if not token.isascii():
                raise ConfigError(f"the bearer token in {self.bearer_token_env or self.bearer_token_file} is not ASCII")
            return {"Authorization": f"Bearer {token}"}
        password = secret(self.password_env, self.password_file, env)
        if password is not None:
            return {"Authorization": "Basic " + base64.b64encode(f"{self.username}:{password}".encode()).decode()}
        return {}


def secret(variable: str | None, path: Path | None, env: Mapping[str, str]) -> str | None:
    """A secret by the name of a variable or of a file; None where neither is named.

    Raises:
        ConfigError: it is not there, or is not one line of text.
    """
    if variable is not None:
        if variable not in env:
            raise ConfigError(f"the environment has no {variable}, which the config names as a secret: set it")
        return _one_word(env[variable], variable)
    if path is not None:
        try:
            return _one_word(path.read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise ConfigError(f"cannot read the secret file {path}: {error.strerror}") from error
        except UnicodeDecodeError:
            raise ConfigError(f"the secret file {path} is not text") from None
    return None


def _one_word(text: str, where: str) -> str:
    """A secret that can be sent in a header; never shown, whatever is wrong with it."""
    secret = text.strip()
    if not secret or not secret.isprintable():
        what = "holds line breaks or control characters" if secret else "is empty"
        raise ConfigError(f"the secret in {where} {what}: it must be one line of text")
    return secret
