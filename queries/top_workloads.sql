-- Which twenty workloads caused the most grams of CO2e over everything stored?
select
    cluster,
    namespace,
    workload_kind,
    workload,
    sum(energy_joules) / 3.6e6 as energy_kwh,
    total_gco2e(emissions_gco2e, intensity_factor_type, cluster, hour_utc) as emissions_gco2e,
    scope_of('average', max(intensity_factor_type)) as scope,
    energy_share(energy_joules, intensity_basis = 'consumption') as consumption_share,
    energy_share(energy_joules, intensity_basis = 'production') as production_share,
    coalesce(sum(energy_joules) filter (emissions_gco2e is null), 0) / 3.6e6 as unpriced_energy_kwh
from emissions
where kind = 'workload'
group by cluster, namespace, workload_kind, workload
order by emissions_gco2e desc nulls last, energy_kwh desc, cluster, namespace, workload_kind, workload
limit 20;
