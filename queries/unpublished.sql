-- Which hours do the stores not show as they are, and why?
-- :start day: from this UTC day on
-- :end day: before this UTC day
select cluster, store, hour_utc, state, revision, reason, written_utc
from hours
where store is not null and state <> 'yes'
    and utc_time(hour_utc)::date >= coalesce($start, utc_time(hour_utc)::date)
    and utc_time(hour_utc)::date < coalesce($end, utc_time(hour_utc)::date + 1)
order by cluster, store, hour_utc;
