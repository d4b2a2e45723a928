-- What does each namespace answer for when idle energy stays apart, is shared by energy used, or evenly?
-- :start day: from this UTC day on
-- :end day: before this UTC day
with told as not materialized (
    select *, coalesce(namespace, case kind when 'workload' then '(unknown)' else '(' || kind || ')' end) as whose
    from emissions
    where date >= coalesce($start, date) and date < coalesce($end, date + 1)
), idle as materialized (
    select cluster, hour_utc, node, component, intensity_factor_type, energy_joules, emissions_gco2e
    from told where kind = 'idle'
), used as not materialized (
    select cluster, hour_utc, node, component, whose, workload_kind, coalesce(workload, pod) as workload,
        energy_joules as used_joules
    from told where kind = 'workload' and energy_joules > 0
), owner as materialized ( -- both conditions hold always, and tell DuckDB that these are few
    select * from (
        select (row_number() over ())::int as owner, whose, workload_kind, workload
        from used group by whose, workload_kind, workload having count(*) > 0
    ) where owner > 0
), sharing as ( -- numbers, for the names of a year of 1,000 pods do not fit into 2 GB
    select cluster, hour_utc, node, component, sum(used_joules) as all_joules, list_distinct(list(owner)) as owners
    from used join owner on owner.whose = used.whose
        and owner.workload_kind is not distinct from used.workload_kind
        and owner.workload is not distinct from used.workload
    group by cluster, hour_utc, node, component
), shared as materialized (
    select * from idle join sharing using (cluster, hour_utc, node, component)
), even as ( -- summed before owners get their names back
    select cluster, intensity_factor_type, owner, min(hour_utc) filter (gco2e is not null) as hour_utc, sum(joules) as joules,
        total_gco2e(gco2e, intensity_factor_type, cluster, hour_utc) as gco2e
    from (
        select cluster, hour_utc, intensity_factor_type, unnest(owners) as owner,
            energy_joules / len(owners) as joules, emissions_gco2e / len(owners) as gco2e
        from shared
    )
    group by cluster, intensity_factor_type, owner
), three_ways as (
    select
        cluster, whose, hour_utc, intensity_factor_type,
        energy_joules as separate_joules,
        case when kind <> 'idle' then energy_joules end as by_energy_joules,
        by_energy_joules as even_joules,
        emissions_gco2e as separate_gco2e,
        case when kind <> 'idle' then emissions_gco2e end as by_energy_gco2e,
        by_energy_gco2e as even_gco2e
    from told
    union all
    select
        cluster, '(idle)', hour_utc, intensity_factor_type,
        null, energy_joules, energy_joules, null, emissions_gco2e, emissions_gco2e
    from idle anti join shared using (cluster, hour_utc, node, component)
    union all
    select
        cluster, whose, hour_utc, intensity_factor_type,
        null, energy_joules * used_joules / all_joules, null, null, emissions_gco2e * used_joules / all_joules, null
    from used join shared using (cluster, hour_utc, node, component)
    union all
    select cluster, whose, hour_utc, intensity_factor_type, null, null, joules, null, null, gco2e
    from even join owner using (owner)
)
select
    cluster,
    whose as namespace,
    sum(separate_joules) / 3.6e6 as separate_kwh,
    coalesce(sum(by_energy_joules), 0) / 3.6e6 as by_energy_kwh,
    coalesce(sum(even_joules), 0) / 3.6e6 as even_kwh,
    total_gco2e(separate_gco2e, intensity_factor_type, cluster, hour_utc) as separate_gco2e,
    total_gco2e(by_energy_gco2e, intensity_factor_type, cluster, hour_utc) as by_energy_gco2e,
    total_gco2e(even_gco2e, intensity_factor_type, cluster, hour_utc) as even_gco2e,
    scope_of('average', max(intensity_factor_type)) as scope
from three_ways
group by cluster, whose
order by cluster, by_energy_gco2e desc nulls last, namespace;
