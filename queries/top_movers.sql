-- Which namespaces' grams changed most from the month before, and by their energy or by the grid and PUE?
-- :month month: the later one, without it the newest that has ended in what is stored
-- :most number = 20: so many namespaces
with later as (
    select coalesce($month, date_trunc('month', max(date) + 1) - interval 1 month)::date as month from emissions_daily
), told as (
    select *, date_trunc('month', date)::date = month as is_later
    from emissions_by_team, later
    where date >= month - interval 1 month and date < month + interval 1 month
), compared as (
    select
        cluster,
        namespace,
        any_value(month) as month_utc,
        count(distinct date) filter (not is_later) as days_before,
        count(distinct date) filter (is_later) as days,
        coalesce(sum(facility_energy_kwh) filter (not is_later and emissions_gco2e is not null), 0) as kwh_before,
        coalesce(sum(facility_energy_kwh) filter (is_later and emissions_gco2e is not null), 0) as kwh,
        total_gco2e(case when not is_later then emissions_gco2e end, intensity_factor_type, cluster, date_utc)
            as emissions_before_gco2e,
        total_gco2e(case when is_later then emissions_gco2e end, intensity_factor_type, cluster, date_utc)
            as emissions_gco2e
    from told
    group by cluster, namespace
), rated as (
    -- a month without energy has no rate of its own: all of the change is then energy
    select
        *,
        coalesce(emissions_before_gco2e / nullif(kwh_before, 0), emissions_gco2e / nullif(kwh, 0)) as rate_before,
        coalesce(emissions_gco2e / nullif(kwh, 0), emissions_before_gco2e / nullif(kwh_before, 0)) as rate
    from compared
)
select
    cluster,
    namespace,
    month_utc,
    days_before,
    days,
    emissions_before_gco2e,
    emissions_gco2e,
    coalesce(emissions_gco2e, 0) - coalesce(emissions_before_gco2e, 0) as change_gco2e,
    (kwh - kwh_before) * (rate + rate_before) / 2 as by_energy_gco2e,
    (rate - rate_before) * (kwh + kwh_before) / 2 as by_intensity_gco2e
from rated
where emissions_gco2e is not null or emissions_before_gco2e is not null
order by abs(change_gco2e) desc, cluster, namespace
limit $most::bigint;
