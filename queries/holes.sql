-- Where is energy missing: node-hours covered less than the node existed, and nodes of the day before without a row?
select cluster, hour_utc, node, component, coverage_ratio, expected_ratio, unplaced_joules, 'hole' as what
from node_energy
where expected_ratio - coalesce(coverage_ratio, 0) > 0.01
union all
select cluster, hour_utc, node, null, 0, null, null, 'silent since ' || strftime(last_seen_utc at time zone 'UTC', '%Y-%m-%dT%H:%MZ')
from silent_nodes
order by cluster, hour_utc, node, component;
