"""What a token of Electricity Maps may ask, and what a refusal of it means."""

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from pipeline.errors import ConfigError, SourceError, SourceRejected
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import ElectricityMapsTable
from pipeline.sources.grid.web import NothingThere, NotInPlan, Reply, Web, document, first_line, malformed
from pipeline.window import Clock

NAME = "electricity_maps"
TEMPORALITIES = ("past-range", "history", "latest", "forecast")
PLAN_SIGNS = ("unauthorized for zonekey", "do not have access", "endpoint not available")
LEAST_SECONDS = 0.5  # 120 a minute; their terms are said to allow 150


class Access:
    """The calls of one token, and what `/zones`, asked once, says that it may."""

    def __init__(self, table: ElectricityMapsTable, http: HttpSettings, env: Mapping[str, str], clock: Clock) -> None:
        self._table, self._env = table, env
        self._web = Web(NAME, http, clock, LEAST_SECONDS, refusal)
        self._listed: dict[str, dict[str, Any]] | None = None

    def get(self, path: str, params: Mapping[str, str]) -> Reply:
        """One answer; as `Web.get`."""
        token = self._table.token(self._env)
        if token is None:
            raise ConfigError(f"[intensity.{NAME}] needs token_env or token_file")
        return self._web.get(f"{self._table.base_url}/{path}", params, headers={"auth-token": token}, secrets=(token,))

    def temporalities(self, zone: str) -> list[str]:
        """What may be asked of a zone's carbon intensity, the farthest reaching first.

        A zone without `access` is asked for everything: then the answer says what the token lacks.

        Raises:
            NothingThere: the token sees no such zone.
        """
        access = self._zone(zone).get("access", "*")
        patterns = [access] if isinstance(access, str) else access
        if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
            raise malformed(NAME, f"access {access!r} for the zone {zone}")
        return [t for t in TEMPORALITIES if any(fnmatchcase(f"carbon-intensity/{t}", p) for p in patterns)]

    def title(self, zone: str) -> str:
        """The zone's name for people."""
        return str(self._zone(zone).get("zoneName", "unnamed"))

    def _zone(self, zone: str) -> dict[str, Any]:
        if self._listed is None:
            self._listed = _listed(document(NAME, self.get("zones", {}).body))
        if zone not in self._listed:
            near = difflib.get_close_matches(zone, self._listed, n=3)
            raise NothingThere(
                f"{NAME} lists no zone {zone!r} for this token: "
                + (f"did you mean {' or '.join(near)}?" if near else f"set zone in [intensity.{NAME}]")
            )
        return self._listed[zone]


def _listed(answer: object) -> dict[str, dict[str, Any]]:
    """Zones by name: v3 keys them so, v4 lists them."""
    if isinstance(answer, dict) and all(isinstance(row, dict) for row in answer.values()):
        return answer
    if isinstance(answer, list) and all(isinstance(row, dict) and "zoneKey" in row for row in answer):
        return {str(row["zoneKey"]): row for row in answer}
    raise malformed(NAME, "/zones with something that is no list of zones")


def refusal(reply: Reply) -> SourceError | None:
    """What a status means here: a 401 is a token that is not known, or a good one whose plan ends short of the ask."""
    says = f"{NAME} answers {reply.status}: {first_line(reply.body) or 'no reason given'}"
    text = reply.body.decode(errors="replace").lower()
    if reply.status == 403 or (reply.status == 401 and any(sign in text for sign in PLAN_SIGNS)):
        return NotInPlan(f"{says}: the token's plan has not this zone or this endpoint")
    if reply.status == 401:
        return SourceRejected(
            f"{says}: the token of [intensity.{NAME}] is not accepted; so is a free one once its zone was changed"
        )
    return None
