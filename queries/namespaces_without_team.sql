-- Which namespaces has the map of teams left out, and what do they use?
-- :start day: from this UTC day on
-- :end day: before this UTC day
select
    cluster,
    namespace,
    min(date) as first_day_utc,
    max(date) as last_day_utc,
    sum(energy_joules) / 3.6e6 as energy_kwh,
    total_gco2e(emissions_gco2e, intensity_factor_type, cluster, date_utc) as emissions_gco2e
from emissions_by_team
where team = '(no team)' and date >= coalesce($start, date) and date < coalesce($end, date + 1)
group by cluster, namespace
order by energy_kwh desc, cluster, namespace;
