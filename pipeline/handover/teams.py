"""Which namespaces are whose, written into dashboards: Prometheus has no join with a map, so each team is a rewrite.

A dashboard that sums by team has both of `OPEN` and `CLOSE` in an expression, which alone make each namespace its own
team, and a variable `team` whose values are regexes of namespaces. docs/dashboards.md says how they are used.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

from pipeline.errors import ConfigError
from pipeline.sinks.sql import run_query

OPEN, CALL = "sum by (team) (label_replace(", "label_replace("
CLOSE = ', "team", "$1", "namespace", "(.+)")'
TEAMLESS = ', "team", "(no team)", "namespace", "[^(].*")'  # what stands in parentheses is nobody's namespace
VARIABLE, EVERYBODY = "team", ("All teams", ".+")
SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")

Document: TypeAlias = dict[str, Any]
Teams: TypeAlias = Mapping[str, str]
LINES = """
select distinct cluster, namespace, team from teams_newest
where coalesce(start_utc, timestamptz '-infinity') <= timestamptz '{day} 00:00:00Z'
    and timestamptz '{day} 00:00:00Z' < coalesce(end_utc, timestamptz 'infinity')
"""


def teams_on(root: Path, day: date) -> dict[str, str]:
    """The map of that day of the warehouse at `root`, as `teams_of` gives it; empty where there is none.

    Raises:
        ConfigError: as `teams_of`.
    """
    lines = run_query(root, LINES.format(day=day.isoformat())).to_pylist()
    return teams_of((line["cluster"], line["namespace"], line["team"]) for line in lines)


def teams_of(lines: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """The regex of each team's namespaces, by its name, from lines of cluster, namespace, team.

    Raises:
        ConfigError: a namespace is one team's in one cluster and another's in the next.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    for _, namespace, team in lines:
        owners[namespace].add(team)
    split = sorted(namespace for namespace, teams in owners.items() if len(teams) > 1)
    if split:
        raise ConfigError(
            f"the team of {', '.join(split)} differs by cluster, which dashboards cannot show: give --no-teams, "
            "and sum emissions_by_team in SQL"
        )
    found: dict[str, list[str]] = defaultdict(list)
    for namespace, teams in sorted(owners.items()):
        found[teams.pop()].append(SPECIAL.sub(r"\\\g<0>", namespace))
    return {team: "|".join(namespaces) for team, namespaces in sorted(found.items())}


def with_teams(document: Document, teams: Teams) -> Document:
    """The dashboard with that map in its sums by team and its choice of them; as it is where there is no map."""
    if not teams:
        return document
    rewritten = {key: _rewritten(value, teams) for key, value in document.items()}
    choices = [EVERYBODY, *teams.items()]
    options = [{"selected": i == 0, "text": text, "value": value} for i, (text, value) in enumerate(choices)]
    for variable in rewritten["templating"]["list"]:
        if variable["name"] == VARIABLE:
            query = ", ".join(f"{text.replace(',', chr(92) + ',')} : {value}" for text, value in choices)
            variable |= {"options": options, "query": query, "current": options[0]}
    return rewritten


def _rewritten(value: Any, teams: Teams) -> Any:  # noqa: ANN401 # the type of a JSON document
    """`value` with every expression by team in it over the map."""
    if isinstance(value, dict):
        return {key: _rewritten(inner, teams) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rewritten(inner, teams) for inner in value]
    if not isinstance(value, str) or OPEN not in value:
        return value
    calls = OPEN + CALL * (len(teams) + 1)
    own = "".join(
        f', "team", "{_replacement(team)}", "namespace", "{_quoted(names)}")' for team, names in teams.items()
    )
    return value.replace(OPEN, calls).replace(CLOSE, CLOSE + TEAMLESS + own)


def _replacement(team: str) -> str:
    return _quoted(team.replace("$", "$$"))


def _quoted(text: str) -> str:
    """Inside the quotes of a PromQL string."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
