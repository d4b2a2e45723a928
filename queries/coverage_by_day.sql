-- How much of each day was metered: hours by state, node time covered, and nodes that fell silent?
-- :start day: from this UTC day on
-- :end day: before this UTC day
with state as (
    select
        cluster,
        utc_time(hour_utc)::date as date,
        count(*) filter (state = 'complete') as complete_hours,
        count(*) filter (state = 'partial') as partial_hours,
        count(*) filter (state = 'empty') as empty_hours,
        count(*) filter (state = 'failed') as failed_hours
    from hours
    where store is null
    group by all
), metered as (
    select
        cluster,
        date,
        sum(expected_ratio) as expected_hours,
        sum(coverage_ratio) filter (expected_ratio is not null) as covered_hours,
        count(*) filter (expected_ratio - coalesce(coverage_ratio, 0) > 0.01) as holes
    from node_energy
    group by all
), silent as (
    select cluster, utc_time(hour_utc)::date as date, count(*) as silent_node_hours from silent_nodes group by all
)
select
    cluster,
    date as day_utc,
    complete_hours,
    partial_hours,
    empty_hours,
    failed_hours,
    covered_hours / nullif(expected_hours, 0) as covered_share,
    coalesce(holes, 0) as holes,
    coalesce(silent_node_hours, 0) as silent_node_hours
from state left join metered using (cluster, date) left join silent using (cluster, date)
where date >= coalesce($start, date) and date < coalesce($end, date + 1)
order by cluster, day_utc;
