"""Credentials of an address: never values in the config, only the names of variables or files, read at each call."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from pipeline.credentials.headers import check_literal, check_names
from pipeline.errors import ConfigError

AUTHORIZATION = "authorization"


class Part(BaseModel):
    """Base of every part: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Credentials(Part):
    """What each request carries: a bearer token, or a user with a password, and further headers; no secret by value."""

    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    bearer_token_env: str | None = None
    bearer_token_file: Path | None = None
    headers: dict[str, str] = {}
    headers_env: dict[str, str] = {}
    headers_file: dict[str, Path] = {}

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

    @model_validator(mode="after")
    def _headers_that_can_be_sent(self) -> Self:
        check_names([*self.headers, *self.headers_env, *self.headers_file])
        for name, value in self.headers.items():
            check_literal(name, value)
        if len(self.ways) > 1:
            raise ValueError(f"{' and '.join(self.ways)} exclude each other: a request has one Authorization")
        return self

    @property
    def ways(self) -> list[str]:
        """The keys that each make an Authorization header, one of a kind."""
        own = [name for name in (*self.headers_env, *self.headers_file) if name.lower() == AUTHORIZATION]
        found = {
            "username": self.username,
            "bearer_token_env": self.bearer_token_env,
            "bearer_token_file": self.bearer_token_file,
            "the header Authorization": own,
        }
        return [name for name, given in found.items() if given]

    def header(self, env: Mapping[str, str]) -> dict[str, str]:
        """The headers of a request, read anew at each call because mounted tokens rotate; empty without any.

        Raises:
            ConfigError: a secret is not there, or cannot be sent in a header.
        """
        found = dict(self.headers)
        for name, (variable, path) in self._own_headers().items():
            found[name] = _ascii(secret(variable, path, env), f"the header {name} of {variable or path}")
        token, password = self._token(env), self._password(env)
        if token is not None:
            where = f"the bearer token in {self.bearer_token_env or self.bearer_token_file}"
            found["Authorization"] = f"Bearer {_ascii(token, where)}"
        if password is not None:
            found["Authorization"] = f"Basic {self._pair(password)}"
        return found

    def secrets(self, env: Mapping[str, str]) -> list[str]:
        """All of `header` that nobody may see, also as it was before it was encoded."""
        password = self._password(env)
        words = [secret(variable, path, env) for variable, path in self._own_headers().values()]
        words += [self._token(env), password, self._pair(password) if password is not None else None]
        return [word for word in words if word is not None]

    def _own_headers(self) -> dict[str, tuple[str | None, Path | None]]:
        """Variable or file of each header that holds a secret."""
        variables = {name: (variable, None) for name, variable in self.headers_env.items()}
        return {**variables, **{name: (None, path) for name, path in self.headers_file.items()}}

    def _token(self, env: Mapping[str, str]) -> str | None:
        return secret(self.bearer_token_env, self.bearer_token_file, env)

    def _password(self, env: Mapping[str, str]) -> str | None:
        return secret(self.password_env, self.password_file, env)

    def _pair(self, password: str) -> str:
        """User and password as Basic authentication encodes them."""
        return base64.b64encode(f"{self.username}:{password}".encode()).decode()


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


def _ascii(text: str | None, what: str) -> str:
    if text is None or not text.isascii():
        raise ConfigError(f"{what} is not ASCII")
    return text
