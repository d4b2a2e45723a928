-- How many grams does one request, token or job cost, given how many were served (the SCI of a workload)?
-- :start day: from this UTC day on
-- :end day: before this UTC day
-- :cluster text: only this one
-- :namespace text: only this one
-- :workload text: only this one
-- :units number: requests, tokens or jobs served in that time
-- :embodied_gco2e number: hardware's share of that time, which is in no table: without it there is no SCI
with used as (
    select
        sum(energy_joules) / 3.6e6 as energy_kwh,
        total_gco2e(emissions_gco2e, intensity_factor_type, cluster, date_utc) as operational_gco2e,
        scope_of('average', max(intensity_factor_type)) as scope,
        sum(unpriced_energy_joules) / 3.6e6 as unpriced_energy_kwh
    from emissions_by_team
    where kind = 'workload'
        and cluster = coalesce($cluster, cluster)
        and namespace = coalesce($namespace, namespace)
        and ($workload is null or workload = $workload)
        and date >= coalesce($start, date) and date < coalesce($end, date + 1)
    having count(*) > 0
)
select
    *,
    operational_gco2e / nullif($units::double, 0) as operational_gco2e_per_unit,
    (operational_gco2e + $embodied_gco2e::double) / nullif($units::double, 0) as sci_gco2e_per_unit
from used
order by energy_kwh;
