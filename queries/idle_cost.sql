-- What do nodes cost while they idle, in each month: energy, grams of CO2e, and money at a price per kWh?
-- :start day: from this UTC day on
-- :end day: before this UTC day
-- :price_per_kwh number: of facility energy, in any currency, without it there is no cost
select
    cluster,
    date_trunc('month', date)::date as month_utc,
    coalesce(sum(energy_joules) filter (kind = 'idle'), 0) / 3.6e6 as idle_kwh,
    energy_share(energy_joules, kind = 'idle') as idle_share,
    sum(facility_energy_kwh) filter (kind = 'idle') * $price_per_kwh::double as idle_cost,
    total_gco2e(case kind when 'idle' then emissions_gco2e end, intensity_factor_type, cluster, date_utc)
        as idle_gco2e,
    total_gco2e(emissions_gco2e, intensity_factor_type, cluster, date_utc) as emissions_gco2e,
    scope_of('average', max(intensity_factor_type)) as scope
from emissions_daily
where date >= coalesce($start, date) and date < coalesce($end, date + 1)
group by cluster, month_utc
order by cluster, month_utc;
