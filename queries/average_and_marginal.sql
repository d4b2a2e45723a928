-- By hour of the UTC day, how many grams is a kWh on average, and how many would one more have been?
-- :start day: from this UTC day on
-- :end day: before this UTC day
-- :cluster text: only this one
select
    cluster,
    date_part('hour', utc_time(hour_utc)) as hour_of_day_utc,
    count(distinct hour_utc) as hours,
    sum(carbon_intensity_g_per_kwh * facility_energy_kwh)
        / nullif(sum(facility_energy_kwh) filter (carbon_intensity_g_per_kwh is not null), 0) as average_g_per_kwh,
    sum(marginal_intensity_g_per_kwh * facility_energy_kwh)
        / nullif(sum(facility_energy_kwh) filter (marginal_intensity_g_per_kwh is not null), 0) as marginal_g_per_kwh
from (
    select cluster, hour_utc, date, carbon_intensity_g_per_kwh, null as marginal_intensity_g_per_kwh, facility_energy_kwh
    from emissions
    union all
    select cluster, hour_utc, utc_time(hour_utc)::date, null, marginal_intensity_g_per_kwh, facility_energy_kwh
    from emissions_marginal
)
where cluster = coalesce($cluster, cluster) and date >= coalesce($start, date) and date < coalesce($end, date + 1)
group by cluster, hour_of_day_utc
order by cluster, hour_of_day_utc;
