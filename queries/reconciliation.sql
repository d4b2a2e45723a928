-- Does every node-hour add up to its meter, and does an independent meter agree?
select
    cluster,
    hour_utc,
    node,
    component,
    metered_joules,
    workload_joules,
    system_joules,
    idle_joules,
    residual_joules,
    coalesce(workload_joules, 0) + coalesce(system_joules, 0) + coalesce(idle_joules, 0) + coalesce(residual_joules, 0)
        - coalesce(metered_joules, 0) as difference_joules,
    meter,
    cross_meter,
    cross_ratio,
    "check",
    platform_scale
from node_energy
order by cluster, hour_utc, node, component;
