-- Which totals of closed periods changed since they were reported, by how much, why, and is it material?
select
    period,
    cluster,
    namespace,
    closed_energy_joules / 3.6e6 as closed_energy_kwh,
    energy_joules / 3.6e6 as energy_kwh,
    closed_emissions_gco2e,
    emissions_gco2e,
    difference_gco2e,
    difference_ratio,
    causes,
    is_material,
    intensity_factor_type,
    closed_utc
from restatements
where difference_joules <> 0 or difference_gco2e <> 0
order by period, cluster, is_material desc, abs(difference_gco2e) desc, namespace;
