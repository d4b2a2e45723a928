-- How many grams do Deployments, DaemonSets, Jobs and other owners cause, beside the system and idling?
-- :start day: from this UTC day on
-- :end day: before this UTC day
select
    cluster,
    coalesce(workload_kind, case kind when 'workload' then '(unknown)' else '(' || kind || ')' end) as owner_kind,
    count(distinct (namespace, workload)) filter (kind = 'workload') as workloads,
    sum(energy_joules) / 3.6e6 as energy_kwh,
    sum(energy_joules) / nullif(sum(sum(energy_joules)) over (partition by cluster), 0) as energy_share,
    total_gco2e(emissions_gco2e, intensity_factor_type, cluster, date_utc) as emissions_gco2e,
    scope_of('average', max(intensity_factor_type)) as scope
from emissions_daily
where date >= coalesce($start, date) and date < coalesce($end, date + 1)
group by cluster, owner_kind
order by cluster, energy_kwh desc, owner_kind;
