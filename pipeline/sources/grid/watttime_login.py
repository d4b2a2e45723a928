"""WattTime's door: a user and a password give a token of half an hour, which every other request carries."""

import base64
import json
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from pipeline.errors import ConfigError, SourceError, SourceMalformed, SourceRejected
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import WattTimeTable
from pipeline.sources.grid.web import NotInPlan, Reply, Web, first_line
from pipeline.window import Clock

NAME = "watttime"
LEAST_SECONDS = 0.1  # 3,000 requests in five minutes are allowed
TOKEN_SECONDS = 25 * 60.0  # of the 30 minutes that a token lives


class _TokenRefused(SourceRejected):
    """The token has ended, or never was good."""


class WattTimeSession:
    """Requests with a token: had when first needed, renewed before it ends, and once more where it ends early.

    Raises:
        ConfigError: no user is named in the provider's table.
    """

    def __init__(self, table: WattTimeTable, http: HttpSettings, env: Mapping[str, str], clock: Clock) -> None:
        if table.username_env is None and table.username_file is None:
            raise ConfigError("provider watttime needs username_env and password_env in [intensity.watttime]")
        self._table, self._env, self._clock = table, env, clock
        self._door = Web(NAME, http, clock, LEAST_SECONDS, _login_refused)
        self._web = Web(NAME, http, clock, LEAST_SECONDS, _refused)
        self._token, self._renewal_seconds = "", 0.0

    def get(self, path: str, params: Mapping[str, str]) -> Reply:
        """The answer of `/v3/<path>`.

        Raises:
            SourceError: as of `web.Web.get`; SourceRejected also where the login is refused.
        """
        try:
            return self._ask(path, params)
        except _TokenRefused:
            self._token = ""
        return self._ask(path, params)

    def _ask(self, path: str, params: Mapping[str, str]) -> Reply:
        if not self._token or self._clock.monotonic() >= self._renewal_seconds:
            self._token = self._login()
            self._renewal_seconds = self._clock.monotonic() + TOKEN_SECONDS
        bearer = {"Authorization": f"Bearer {self._token}"}
        return self._web.get(f"{self._table.base_url}/v3/{path}", params, bearer, secrets=[self._token])

    def _login(self) -> str:
        user, password = self._table.login(self._env) or ("", "")  # both are named, the constructor has seen it
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        basic = {"Authorization": f"Basic {pair}"}
        reply = self._door.get(f"{self._table.base_url}/login", headers=basic, secrets=[user, password, pair])
        try:
            token = json.loads(reply.body)["token"]
        except (ValueError, KeyError, TypeError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
            raise SourceMalformed("watttime answers the login without a token")  # its body may hold one: never shown
        return token


def _refused(reply: Reply) -> SourceError | None:
    says = first_line(reply.body) or "no reason given"
    if reply.status == 401:
        return _TokenRefused(f"watttime refuses the token that its own login gave (401): {says}")
    if reply.status == 403:
        asked = parse_qs(urlsplit(reply.url).query)
        what = " of ".join(asked[key][0] for key in ("signal_type", "region") if key in asked) or "access"
        return NotInPlan(f"watttime: the login is good, but its plan has no {what} (403): {says}")
    return None


def _login_refused(reply: Reply) -> SourceError | None:
    if reply.status not in (400, 401, 403, 422):
        return None
    return SourceRejected(
        f"watttime refuses the login ({reply.status}): check user and password named in [intensity.watttime]"
    )
