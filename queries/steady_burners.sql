-- Which host processes draw power in nearly every hour, and how much?
-- :start day: from this UTC day on
-- :end day: before this UTC day
-- :present number = 0.9: in at least this share of their node's hours
-- :most number = 50: so many processes
with told as (
    select cluster, node, exe, cmdline, hour_utc, energy_joules / 3600 as watts
    from processes
    where exe <> '(other)' and date >= coalesce($start, date) and date < coalesce($end, date + 1)
), lasting as (
    select cluster, node, count(distinct hour_utc) as node_hours from told group by cluster, node
)
select
    cluster,
    node,
    exe,
    cmdline,
    count(distinct hour_utc) as hours,
    count(distinct hour_utc) / any_value(node_hours) as present_ratio,
    avg(watts) as mean_watts,
    min(watts) / nullif(avg(watts), 0) as least_of_mean,
    sum(watts) / 1000 as energy_kwh
from told join lasting using (cluster, node)
group by cluster, node, exe, cmdline
having present_ratio >= $present
order by energy_kwh desc, cluster, node, exe, cmdline
limit $most::bigint;
