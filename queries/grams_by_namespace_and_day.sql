-- How many grams of CO2e did each namespace cause on each UTC day, and how much of its energy has no figure?
select
    cluster,
    date as day_utc,
    coalesce(namespace, '(' || kind || ')') as namespace,
    sum(energy_joules) / 3.6e6 as energy_kwh,
    sum(facility_energy_kwh) as facility_energy_kwh,
    total_gco2e(emissions_gco2e, intensity_factor_type, cluster, hour_utc) as emissions_gco2e,
    scope_of('average', max(intensity_factor_type)) as scope,
    energy_share(energy_joules, intensity_basis = 'consumption') as consumption_share,
    energy_share(energy_joules, intensity_basis = 'production') as production_share,
    coalesce(sum(energy_joules) filter (emissions_gco2e is null), 0) / 3.6e6 as unpriced_energy_kwh
from emissions
group by cluster, day_utc, coalesce(namespace, '(' || kind || ')')
order by cluster, day_utc, emissions_gco2e desc nulls last, namespace;
