-- What does each team answer for in each month: energy, grams of CO2e, and money at a price per kWh?
-- :start day: from this UTC day on
-- :end day: before this UTC day
-- :price_per_kwh number: of facility energy, in any currency, without it there is no cost
select
    date_trunc('month', date)::date as month_utc,
    team,
    sum(energy_joules) / 3.6e6 as energy_kwh,
    sum(facility_energy_kwh) as facility_energy_kwh,
    sum(facility_energy_kwh) * $price_per_kwh::double as cost,
    total_gco2e(emissions_gco2e, intensity_factor_type, cluster, date_utc) as emissions_gco2e,
    scope_of('average', max(intensity_factor_type)) as scope,
    sum(unpriced_energy_joules) / 3.6e6 as unpriced_energy_kwh
from emissions_by_team
where date >= coalesce($start, date) and date < coalesce($end, date + 1)
group by month_utc, team
order by month_utc, emissions_gco2e desc nulls last, team;
