"""Energy and grams by team, as views: a dated map of namespaces laid over what is stored, and never part of it."""

from pipeline.settings.teams import NO_TEAM
from pipeline.sinks.closings import NAMESPACE


def with_team(relation: str, moment: str) -> str:
    """SQL of a relation's rows, their namespaces filled in as the books do, with the column `team`.

    Args:
        relation: with columns cluster, namespace and kind.
        moment: its column that says when; a line of the map counts from whole UTC days.
    """
    return f"""
        with named as (select * replace ({NAMESPACE}) from {relation})
        select named.*, coalesce(team, '{NO_TEAM}') as team
        from named left join teams_newest
            on teams_newest.cluster = named.cluster and teams_newest.namespace = named.namespace
            and named.{moment} >= coalesce(start_utc, timestamptz '-infinity')
            and named.{moment} < coalesce(end_utc, timestamptz 'infinity')"""


TEAM_VIEWS = {
    "teams_newest": """
        select * from (from teams qualify fetched_utc = max(fetched_utc) over (partition by cluster))
        where namespace is not null""",
    "emissions_by_team": with_team("emissions_daily", "date_utc"),
}
# By days, so that it is answered from `emissions_daily`; a time would mean another day in another session.
DAY = "strptime({0}::varchar, '%Y-%m-%d')::date"
TABLE_MACROS = {
    "gco2e_by(names, first_day, end_day)": f"""
        select columns(names), sum(energy_joules) / 3.6e6 as energy_kwh,
            sum(facility_energy_kwh) as facility_energy_kwh,
            total_gco2e(emissions_gco2e, intensity_factor_type, cluster, date_utc) as emissions_gco2e,
            sum(unpriced_energy_joules) / 3.6e6 as unpriced_energy_kwh
        from emissions_by_team
        where date >= {DAY.format("first_day")} and date < {DAY.format("end_day")}
        group by all order by all""",
}
