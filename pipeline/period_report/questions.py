"""What a report asks the warehouse's views, as SQL.

The rows of both periods are put aside once, as `told`; every question about amounts is a sum over them. Parameters:
`$start` and `$until` of the period, `$before_start` and `$before_until` of the one before it, `$clusters` (null: all).
"""

from pipeline.settings.teams import NO_TEAM
from pipeline.sinks.closings import NAMESPACE

CHOSEN = "($clusters is null or list_contains($clusters, cluster))"
INSIDE = f"{CHOSEN} and hour_utc >= $start and hour_utc < $until"
HOLE = "expected_ratio - coalesce(coverage_ratio, 0) > 0.01"


AMOUNTS = (
    "energy_kwh", "facility_energy_kwh", "emissions_gco2e", "unpriced_energy_kwh", "priced_energy_kwh",
    "priced_facility_kwh",
)  # fmt: skip
COLUMNS = """cluster, namespace, kind, workload_kind, workload, intensity_zone, intensity_provider,
            intensity_factor_type, intensity_basis, intensity_quality, method_version, energy_joules,
            facility_energy_kwh, emissions_gco2e"""
# All amounts are sums over it: of whole UTC days it holds the days' sums, of `$edges`, where a span begins or ends
# within a day, those of their hours. Energy that nobody priced says no factor type: it stands with the one that most of
# its cluster's energy has.
TOLD = f"""
    with source as (
        select date_utc as moment, unpriced_energy_joules as unpriced_joules, {COLUMNS}
        from emissions_daily
        where not list_contains($edges, date) and date >= $before_start::date and date <= $until::date
        union all
        select hour_utc, case when emissions_gco2e is null then energy_joules else 0 end, {COLUMNS}
        from emissions where list_contains($edges, date)
    ), named as (
        select * replace ({NAMESPACE}), moment >= $start as is_now
        from source
        where {CHOSEN} and (moment >= $start and moment < $until or moment >= $before_start and moment < $before_until)
    ), typed as (
        select is_now, cluster, intensity_factor_type, sum(energy_joules) as joules
        from named where intensity_factor_type is not null group by all
    ), usual as (
        select is_now, cluster, arg_max(intensity_factor_type, joules) as factor_type from typed group by all
    ), most as (select arg_max(intensity_factor_type, joules) as factor_type from typed)
    select is_now, named.cluster, named.namespace, coalesce(team, '{NO_TEAM}') as team, kind, workload_kind, workload,
        utc_time(moment)::date as day_utc,
        coalesce(intensity_factor_type, usual.factor_type, most.factor_type) as factor_type,
        intensity_zone, intensity_provider, intensity_basis, intensity_quality, method_version,
        fsum(energy_joules) / 3.6e6 as energy_kwh, fsum(facility_energy_kwh) as facility_energy_kwh,
        fsum(emissions_gco2e) as emissions_gco2e, fsum(unpriced_joules) / 3.6e6 as unpriced_energy_kwh,
        fsum(energy_joules - unpriced_joules) / 3.6e6 as priced_energy_kwh,
        fsum(facility_energy_kwh) filter (intensity_quality is distinct from 'missing') as priced_facility_kwh
    from named left join usual using (is_now, cluster) cross join most
    left join (select cluster, namespace, team, start_utc, end_utc from teams_newest) as map
        on map.cluster = named.cluster and map.namespace = named.namespace
        and moment >= coalesce(start_utc, timestamptz '-infinity')
        and moment < coalesce(end_utc, timestamptz 'infinity')
    group by all"""
MOST_WORKLOADS = 10


def sums(keys: str, *, of: str = "told", where: str = "true") -> str:
    """The amounts of both periods side by side, by keys; nulls where a period has none."""
    both = ", ".join(
        f"fsum({name}) filter ({told}) as {period}_{name}"
        for period, told in (("now", "is_now"), ("before", "not is_now"))
        for name in AMOUNTS
    )
    return f"""
        select {keys}, bool_or(is_now) as is_now, bool_or(not is_now) as is_before, {both}
        from {of} where {where} group by {keys} order by now_emissions_gco2e desc nulls last, {keys}"""


def outstanding_workloads() -> str:
    """The workloads of most grams, and those whose grams changed most, up to `MOST_WORKLOADS` of each."""
    keys = "factor_type, cluster, namespace, workload_kind, workload"
    change = "abs(coalesce(now_emissions_gco2e, 0) - coalesce(before_emissions_gco2e, 0))"
    return f"""
        with workloads as ({sums(keys, where="kind = 'workload'")})
        select *, row_number() over (partition by factor_type order by {change} desc, {keys}) as change_rank,
            row_number() over (partition by factor_type order by now_emissions_gco2e desc nulls last, {keys})
                as size_rank
        from workloads
        qualify change_rank <= {MOST_WORKLOADS} or size_rank <= {MOST_WORKLOADS}"""


DAYS = f"""
    select factor_type, day_utc, cluster, kind, {", ".join(f"fsum({name}) as {name}" for name in AMOUNTS)}
    from told where is_now group by all order by all"""
HAS_TEAMS = "from teams_newest limit 1"
BY_TYPE = {
    "totals": sums("factor_type"),
    "clusters": sums("factor_type, cluster"),
    "kinds": sums("factor_type, kind"),
    "namespaces": sums("factor_type, cluster, namespace"),
    "teams": sums("factor_type, team"),
    "workloads": outstanding_workloads(),
    "days": DAYS,
}
PRICES = """
    select factor_type, cluster, intensity_zone, intensity_provider, intensity_basis, intensity_quality,
        fsum(energy_kwh) as energy_kwh, fsum(emissions_gco2e) as emissions_gco2e
    from told where is_now group by all
    order by energy_kwh desc, cluster, intensity_zone, intensity_provider, intensity_quality, intensity_basis"""
METHODS = "select is_now, list_sort(list(distinct method_version)) as versions from told group by is_now"
SOURCES_BEFORE = "select distinct intensity_provider from told where not is_now and intensity_provider is not null"
PUES = f"""
    select cluster, pue_source, min(pue_ratio) as least_pue_ratio, max(pue_ratio) as most_pue_ratio,
        fsum(energy_joules) / 3.6e6 as energy_kwh
    from emissions where {INSIDE} and date >= $start::date and date <= $until::date
    group by cluster, pue_source order by cluster, pue_source"""
NEWEST_HOUR = f"""
    select max(hour_utc) as hour_utc from hours
    where store is null and {CHOSEN} and hour_utc >= $start and hour_utc < $until"""
HOURS = f"""
    select cluster, state, count(*) as hours, count(*) filter (revision > 0) as restated,
        min(hour_utc) as first_utc
    from hours where store is null and {INSIDE} group by cluster, state order by cluster, state"""
WHOLE_HOURS = f"""
    select cluster, utc_time(hour_utc)::date as day_utc, count(*) as hours
    from hours where store is null and state in ('complete', 'pruned') and {INSIDE} group by all"""
BEFORE_HOURS = f"""
    select count(*) as hours from hours
    where store is null and {CHOSEN} and hour_utc >= $before_start and hour_utc < $before_until"""
BEGINNINGS = f"""
    select cluster, min(hour_utc) as first_utc from hours where store is null and {CHOSEN}
    group by cluster order by cluster"""
NODE_HOURS = f"""
    select cluster, count(*) as node_hours, count(*) filter (has_hole) as holes,
        count(*) filter (is_withheld) as withheld, count(*) filter (is_implausible) as implausible,
        count(*) filter (is_scaled) as scaled, fsum(coverage) as covered_hours, fsum(expected) as expected_hours
    from (
        select cluster, hour_utc, node, bool_or({HOLE}) as has_hole,
            bool_or("check" in ('workloads_exceed_active', 'residual')) as is_withheld,
            bool_or("check" = 'implausible') as is_implausible, bool_or(platform_scale is not null) as is_scaled,
            avg(coalesce(coverage_ratio, 0)) as coverage, avg(expected_ratio) as expected
        from node_energy where {INSIDE} and date >= $start::date and date <= $until::date group by all
    ) group by cluster order by cluster"""
SILENT = f"select cluster, count(*) as node_hours from silent_nodes where {INSIDE} group by cluster order by cluster"
METERS = f"""
    select meter, list_sort(list(distinct component)) as components, fsum(metered_joules) / 3.6e6 as energy_kwh
    from node_energy where {INSIDE} and date >= $start::date and date <= $until::date
    group by meter order by energy_kwh desc, meter"""
QUARANTINED = f"""
    select cluster, "check", count(*) as rows, fsum(energy_joules) / 3.6e6 as energy_kwh
    from quarantine where {INSIDE} group by all order by cluster, "check" """
CLOSINGS = f"""
    select cluster, closed_utc, fsum(closed_emissions_gco2e) as closed_emissions_gco2e,
        fsum(emissions_gco2e) as emissions_gco2e, intensity_factor_type as factor_type,
        count(*) filter (difference_joules <> 0 or difference_gco2e <> 0) as changed_namespaces,
        bool_or(is_material) as is_material, string_agg(distinct causes, ', ' order by causes) as causes
    from restatements where {CHOSEN} and start_utc = $start and end_utc = $end
    group by cluster, closed_utc, intensity_factor_type order by cluster"""
RUNS = f"""
    select list_sort(list(distinct run_id)) as run_ids, list_sort(list(distinct config_digest)) as config_digests,
        min(priced_utc) as first_priced_utc, max(priced_utc) as last_priced_utc
    from hours where store is null and {INSIDE}"""
VERSIONS = "select list_sort(list(distinct version)) as versions from runs where list_contains($run_ids, run_id)"
ALL = (TOLD, PUES, HOURS, NODE_HOURS, SILENT, QUARANTINED, CLOSINGS, VERSIONS)
