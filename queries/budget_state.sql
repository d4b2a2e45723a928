-- How much of a month's budget did each cluster use, and where does the month end at this pace?
-- :month month: which, without it the newest that is stored
-- :budget_kg number: kilograms of CO2e for the month
-- :cluster text: only this one
with chosen as (
    select coalesce($month, date_trunc('month', max(date)))::date as month from emissions_daily
), used as (
    select
        cluster,
        month as month_utc,
        24 * date_diff('day', month, month + interval 1 month) as hours_of_month,
        total_gco2e(emissions_gco2e, intensity_factor_type, cluster, date_utc) as emissions_gco2e,
        scope_of('average', max(intensity_factor_type)) as scope,
        sum(unpriced_energy_joules) / 3.6e6 as unpriced_energy_kwh
    from emissions_daily, chosen
    where date >= month and date < month + interval 1 month and cluster = coalesce($cluster, cluster)
    group by cluster, month
), known as (
    select used.*, count(*) as hours
    from used join hours using (cluster)
    where store is null and state <> 'failed'
        and utc_time(hour_utc) >= month_utc and utc_time(hour_utc) < month_utc + interval 1 month
    group by all
)
select
    cluster,
    month_utc,
    hours / hours_of_month as known_share,
    emissions_gco2e,
    $budget_kg::double * 1000 as budget_gco2e,
    emissions_gco2e / nullif($budget_kg::double * 1000, 0) as used_share,
    emissions_gco2e * hours_of_month / hours as month_at_this_pace_gco2e,
    scope,
    unpriced_energy_kwh
from known
order by cluster;
