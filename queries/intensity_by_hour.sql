-- Which grid intensity and PUE was each hour priced with, and how good were they?
select
    cluster,
    hour_utc,
    intensity_zone,
    intensity_provider,
    intensity_factor_type,
    intensity_basis,
    intensity_quality,
    total_gco2e(emissions_gco2e, intensity_factor_type, cluster, hour_utc) / nullif(sum(facility_energy_kwh), 0) as carbon_intensity_g_per_kwh,
    sum(facility_energy_kwh) / nullif(sum(energy_joules) filter (facility_energy_kwh is not null) / 3.6e6, 0) as pue_ratio
from emissions
group by all
order by cluster, hour_utc, intensity_provider, intensity_quality;
