-- Which twenty workloads caused the most grams of CO2e over everything stored?
select
    cluster,
    namespace,
    workload_kind,
    workload,
    intensity_factor_type,
    sum(energy_joules) / 3.6e6 as energy_kwh,
    sum(emissions_gco2e) as emissions_gco2e,
    coalesce(sum(energy_joules) filter (emissions_gco2e is null), 0) / 3.6e6 as unpriced_energy_kwh
from emissions
where kind = 'workload'
group by all
order by emissions_gco2e desc nulls last, energy_kwh desc, cluster, namespace, workload_kind, workload
limit 20;
