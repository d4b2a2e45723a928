-- Which pods made up a workload, where did they run, and what did each use?
-- :start day: from this UTC day on
-- :end day: before this UTC day
-- :namespace text: only workloads in this one
-- :workload text: only this one
-- :most number = 50: so many pods
select
    cluster,
    namespace,
    workload_kind,
    workload,
    pod,
    pod_uid,
    string_agg(distinct node, ', ' order by node) as nodes,
    min(hour_utc) as first_hour_utc,
    max(hour_utc) as last_hour_utc,
    count(distinct hour_utc) as hours,
    sum(energy_joules) / 3.6e6 as energy_kwh,
    total_gco2e(emissions_gco2e, intensity_factor_type, cluster, hour_utc) as emissions_gco2e,
    scope_of('average', max(intensity_factor_type)) as scope
from emissions
where kind = 'workload'
    and ($namespace is null or namespace = $namespace)
    and ($workload is null or workload = $workload)
    and date >= coalesce($start, date) and date < coalesce($end, date + 1)
group by cluster, namespace, workload_kind, workload, pod, pod_uid
order by energy_kwh desc, cluster, namespace, workload, pod, pod_uid
limit $most::bigint;
