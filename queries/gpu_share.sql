-- How much of each namespace's energy and grams of CO2e is of GPUs?
-- :start day: from this UTC day on
-- :end day: before this UTC day
select
    cluster,
    namespace,
    coalesce(sum(energy_joules) filter (component = 'gpu'), 0) / 3.6e6 as gpu_kwh,
    sum(energy_joules) / 3.6e6 as energy_kwh,
    energy_share(energy_joules, component = 'gpu') as gpu_share,
    total_gco2e(case component when 'gpu' then emissions_gco2e end, intensity_factor_type, cluster, date_utc)
        as gpu_gco2e,
    total_gco2e(emissions_gco2e, intensity_factor_type, cluster, date_utc) as emissions_gco2e,
    scope_of('average', max(intensity_factor_type)) as scope
from emissions_by_team
where date >= coalesce($start, date) and date < coalesce($end, date + 1)
group by cluster, namespace
order by gpu_kwh desc, cluster, namespace;
