-- How many grams come on top for power supplies and for losses between power station and site, by the two factors below?
with factors as (
    select
        1.04 as psu_ratio, -- wall power over what meters inside the machine read (1.0 leaves it out)
        1.08 as transmission_ratio -- power generated over power delivered, scope 3, no part of a PUE (1.0 leaves it out)
), grams as (
    select
        *,
        -- a platform meter reads at the wall already
        emissions_gco2e * case when platform_scale is null then psu_ratio else 1 end as at_the_wall_gco2e
    from emissions, factors
)
select
    cluster,
    date as day_utc,
    intensity_factor_type,
    total_gco2e(emissions_gco2e, intensity_factor_type, cluster, hour_utc) as emissions_gco2e,
    total_gco2e(at_the_wall_gco2e - emissions_gco2e, intensity_factor_type, cluster, hour_utc) as psu_gco2e,
    total_gco2e(at_the_wall_gco2e * (transmission_ratio - 1), intensity_factor_type, cluster, hour_utc) as transmission_gco2e,
    total_gco2e(at_the_wall_gco2e * transmission_ratio, intensity_factor_type, cluster, hour_utc) as with_overheads_gco2e,
    scope_of('average', intensity_factor_type) as scope,
    coalesce(sum(energy_joules) filter (emissions_gco2e is null), 0) / 3.6e6 as unpriced_energy_kwh
from grams
group by cluster, day_utc, intensity_factor_type
order by cluster, day_utc, intensity_factor_type;
