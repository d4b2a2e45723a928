-- How final are each day's figures: at which quality are they priced, and how often was that asked again since?
with priced as (
    select
        cluster,
        hour_utc,
        max(intensity_zone) as zone,
        max(intensity_provider) as provider,
        sum(energy_joules) as joules,
        sum(energy_joules) filter (intensity_quality = 'measured') as measured,
        sum(energy_joules) filter (intensity_quality = 'estimated') as estimated,
        sum(energy_joules) filter (intensity_quality in ('forecast', 'carried')) as provisional,
        sum(energy_joules) filter (intensity_quality in ('yearly_zone', 'yearly_country', 'world')) as yearly,
        sum(energy_joules) filter (intensity_quality = 'missing') as missing
    from emissions
    group by cluster, hour_utc
), pruned as (
    -- All rows of a pruned day stand at midnight, and these are the hours that it had.
    select cluster, hour_utc, true as is_pruned from hours where store is null and state = 'pruned'
), hour as (
    from priced full join pruned using (cluster, hour_utc)
), source as (
    -- Who ever priced an hour of the cluster: an answer of theirs settles also the hours that others price.
    select distinct
        cluster,
        intensity_provider as provider,
        intensity_zone as zone,
        intensity_factor_type as factor_type
    from emissions
), asked as (
    select cluster, start_utc, end_utc, asked_utc
    from intensity_checks join source using (provider, zone, factor_type)
    where signal = 'average' and outcome in ('ok', 'nothing')
), last_asked as (
    select hour.cluster, hour_utc, max(asked_utc) as asked_utc
    from hour join asked
        on asked.cluster = hour.cluster and start_utc <= hour_utc and end_utc >= hour_utc + interval 1 hour
    group by hour.cluster, hour_utc
), revised as (
    select cluster, hour_utc, count(distinct revision) as revisions from revisions group by cluster, hour_utc
)
select
    cluster,
    utc_time(hour_utc)::date as day,
    string_agg(distinct zone, ', ' order by zone) as zones,
    string_agg(distinct provider, ', ' order by provider) as providers,
    coalesce(nullif(count(is_pruned), 0), count(*)) as hours,
    sum(joules) / 3.6e6 as energy_kwh,
    coalesce(sum(measured), 0) / nullif(sum(joules), 0) as measured_share,
    coalesce(sum(estimated), 0) / nullif(sum(joules), 0) as estimated_share,
    coalesce(sum(provisional), 0) / nullif(sum(joules), 0) as provisional_share,
    coalesce(sum(yearly), 0) / nullif(sum(joules), 0) as yearly_share,
    coalesce(sum(missing), 0) / nullif(sum(joules), 0) as missing_share,
    -- Of the ages 48 h, 7, 30 and 90 days after its end: how many every hour had reached when it was last asked about.
    min(
        coalesce((asked_utc >= hour_utc + interval 49 hour)::int, 0)
        + coalesce((asked_utc >= hour_utc + interval 169 hour)::int, 0)
        + coalesce((asked_utc >= hour_utc + interval 721 hour)::int, 0)
        + coalesce((asked_utc >= hour_utc + interval 2161 hour)::int, 0)
    ) as milestones_checked,
    max(asked_utc) as last_asked_utc,
    sum(coalesce(revisions, 0))::bigint as revisions,
    count(is_pruned) > 0 as is_pruned
from hour
left join last_asked using (cluster, hour_utc)
left join revised using (cluster, hour_utc)
group by cluster, day
order by cluster, day;
