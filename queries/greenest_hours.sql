-- At which hours of the UTC day is each cluster's power cleanest, to run batch jobs in?
-- :start day: from this UTC day on
-- :end day: before this UTC day
-- :cluster text: only this one
with hour as (
    select
        cluster,
        intensity_zone,
        intensity_factor_type,
        hour_utc,
        sum(carbon_intensity_g_per_kwh * facility_energy_kwh) / nullif(sum(facility_energy_kwh), 0) as g_per_kwh
    from emissions
    -- a yearly figure says nothing of hours
    where intensity_quality in ('measured', 'estimated', 'forecast') and cluster = coalesce($cluster, cluster)
        and date >= coalesce($start, date) and date < coalesce($end, date + 1)
    group by all
), day as (
    select
        cluster,
        intensity_zone,
        intensity_factor_type,
        date_part('hour', utc_time(hour_utc)) as hour_of_day_utc,
        count(*) as days,
        avg(g_per_kwh) as mean_g_per_kwh,
        min(g_per_kwh) as least_g_per_kwh,
        max(g_per_kwh) as most_g_per_kwh
    from hour
    group by all
)
select
    *,
    mean_g_per_kwh / nullif(avg(mean_g_per_kwh) over (partition by cluster, intensity_zone, intensity_factor_type), 0)
        as ratio_to_all_hours
from day
order by cluster, intensity_zone, intensity_factor_type, mean_g_per_kwh nulls last, hour_of_day_utc;
