-- What share of the energy was priced with which quality and basis of intensity?
select
    cluster,
    intensity_factor_type,
    intensity_basis,
    intensity_quality,
    sum(energy_joules) / 3.6e6 as energy_kwh,
    sum(energy_joules) / nullif(sum(sum(energy_joules)) over (partition by cluster), 0) as energy_share,
    total_gco2e(emissions_gco2e, intensity_factor_type, cluster, hour_utc) as emissions_gco2e,
    scope_of('average', intensity_factor_type) as scope
from emissions
group by cluster, intensity_factor_type, intensity_basis, intensity_quality
order by cluster, energy_share desc nulls last, intensity_quality, intensity_basis;
