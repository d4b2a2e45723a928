-- Which energy is in no sum because no machine can have used it, or was taken from workloads, and why?
-- :start day: from this UTC day on
-- :end day: before this UTC day
select
    cluster,
    utc_time(hour_utc)::date as day_utc,
    node,
    component,
    "check",
    count(distinct hour_utc) as hours,
    sum(energy_joules) as withheld_joules,
    min(evidence) as evidence
from quarantine
where utc_time(hour_utc)::date >= coalesce($start, utc_time(hour_utc)::date)
    and utc_time(hour_utc)::date < coalesce($end, utc_time(hour_utc)::date + 1)
group by cluster, day_utc, node, component, "check"
order by withheld_joules desc, cluster, day_utc, node, component, "check";
