-- How many grams of CO2e did each namespace cause on each UTC day, and how much of its energy has no figure?
select
    cluster,
    (hour_utc at time zone 'UTC')::date as day_utc,
    coalesce(namespace, '(' || kind || ')') as namespace,
    intensity_factor_type,
    sum(energy_joules) / 3.6e6 as energy_kwh,
    sum(facility_energy_kwh) as facility_energy_kwh,
    sum(emissions_gco2e) as emissions_gco2e,
    coalesce(sum(energy_joules) filter (emissions_gco2e is null), 0) / 3.6e6 as unpriced_energy_kwh
from emissions
group by all
order by cluster, day_utc, emissions_gco2e desc nulls last, namespace, intensity_factor_type;
