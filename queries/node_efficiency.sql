-- How much of each node's energy did work, and what did it draw on average?
-- :start day: from this UTC day on
-- :end day: before this UTC day
with drawn as (
    select
        cluster,
        node,
        component,
        sum(metered_joules) as metered_joules,
        sum(workload_joules) as workload_joules,
        sum(idle_joules) as idle_joules,
        sum(coverage_ratio) as covered_hours,
        sum(metered_joules) filter (coverage_ratio > 0) / nullif(sum(coverage_ratio) * 3600, 0) as watts
    from node_energy
    where date >= coalesce($start, date) and date < coalesce($end, date + 1)
    group by cluster, node, component
)
select
    cluster,
    node,
    max(covered_hours) as covered_hours,
    sum(watts) as mean_watts,
    sum(metered_joules) / 3.6e6 as metered_kwh,
    sum(workload_joules) / nullif(sum(metered_joules), 0) as workload_share,
    sum(idle_joules) / nullif(sum(metered_joules), 0) as idle_share
from drawn
group by cluster, node
order by workload_share nulls last, cluster, node;
