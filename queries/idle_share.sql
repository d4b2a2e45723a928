-- What share of each node's metered energy went to workloads, to the system, and to idling?
select
    cluster,
    node,
    sum(metered_joules) / 3.6e6 as metered_kwh,
    sum(workload_joules) / nullif(sum(metered_joules), 0) as workload_share,
    sum(system_joules) / nullif(sum(metered_joules), 0) as system_share,
    sum(idle_joules) / nullif(sum(metered_joules), 0) as idle_share
from node_energy
group by cluster, node
order by idle_share desc nulls last, cluster, node;
