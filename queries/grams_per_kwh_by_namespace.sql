-- How clean was the power of each namespace, in grams per kWh, beside all of its cluster's?
-- :start day: from this UTC day on
-- :end day: before this UTC day
with spent as (
    select
        cluster,
        namespace,
        sum(facility_energy_kwh) filter (emissions_gco2e is not null) as facility_energy_kwh,
        total_gco2e(emissions_gco2e, intensity_factor_type, cluster, date_utc) as emissions_gco2e
    from emissions_by_team
    where date >= coalesce($start, date) and date < coalesce($end, date + 1)
    group by cluster, namespace
), clusters as (
    select
        cluster,
        total_gco2e(emissions_gco2e, intensity_factor_type, cluster, date_utc)
            / nullif(sum(facility_energy_kwh) filter (emissions_gco2e is not null), 0) as cluster_g_per_kwh
    from emissions_daily
    where date >= coalesce($start, date) and date < coalesce($end, date + 1)
    group by cluster
)
select
    cluster,
    namespace,
    facility_energy_kwh,
    emissions_gco2e,
    emissions_gco2e / nullif(facility_energy_kwh, 0) as g_per_kwh,
    cluster_g_per_kwh,
    g_per_kwh / nullif(cluster_g_per_kwh, 0) as ratio
from spent join clusters using (cluster)
order by cluster, ratio desc nulls last, namespace;
