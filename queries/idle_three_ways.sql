-- What does each namespace answer for when idle energy stays apart, is shared by energy used, or evenly?
-- :start day: from this UTC day on
-- :end day: before this UTC day
with told as (
    select 'separate' as policy, * from emissions_idle_separate
    union all by name
    select 'by_energy' as policy, * from emissions_idle_by_energy
    union all by name
    select 'even' as policy, * from emissions_idle_even
)
select
    cluster,
    coalesce(namespace, case kind when 'workload' then '(unknown)' else '(' || kind || ')' end) as namespace,
    coalesce(sum(energy_joules) filter (policy = 'separate'), 0) / 3.6e6 as separate_kwh,
    coalesce(sum(energy_joules) filter (policy = 'by_energy'), 0) / 3.6e6 as by_energy_kwh,
    coalesce(sum(energy_joules) filter (policy = 'even'), 0) / 3.6e6 as even_kwh,
    total_gco2e(case policy when 'separate' then emissions_gco2e end, intensity_factor_type, cluster, hour_utc)
        as separate_gco2e,
    total_gco2e(case policy when 'by_energy' then emissions_gco2e end, intensity_factor_type, cluster, hour_utc)
        as by_energy_gco2e,
    total_gco2e(case policy when 'even' then emissions_gco2e end, intensity_factor_type, cluster, hour_utc)
        as even_gco2e,
    scope_of('average', max(intensity_factor_type)) as scope
from told
where date >= coalesce($start, date) and date < coalesce($end, date + 1)
group by all
order by cluster, by_energy_gco2e desc nulls last, namespace;
