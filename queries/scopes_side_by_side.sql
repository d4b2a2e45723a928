-- What are each month's grams by each method: location-based, market-based, and as the effect of a change of load?
with told as (
    select cluster, hour_utc, 'average' as signal, intensity_factor_type as factor_type, energy_joules,
        facility_energy_kwh, emissions_gco2e as grams, null as contracted_ratio
    from emissions
    union all
    select cluster, hour_utc, 'market', factor_type, energy_joules, facility_energy_kwh, market_emissions_gco2e,
        contracted_ratio
    from emissions_market
    union all
    select cluster, hour_utc, 'marginal', factor_type, energy_joules, facility_energy_kwh, marginal_emissions_gco2e,
        null
    from emissions_marginal
)
select
    cluster,
    date_trunc('month', utc_time(hour_utc))::date as month_utc,
    signal,
    scope_of(signal, max(factor_type)) as scope,
    sum(facility_energy_kwh) as facility_energy_kwh,
    total_gco2e(grams, factor_type, cluster, hour_utc) as emissions_gco2e,
    energy_share(energy_joules, grams is null) as unpriced_share,
    sum(energy_joules * contracted_ratio) / nullif(sum(energy_joules) filter (contracted_ratio is not null), 0)
        as contracted_share
from told
group by cluster, month_utc, signal
order by cluster, month_utc, signal;
