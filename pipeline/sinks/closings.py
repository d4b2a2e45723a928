"""What was closed and what became of it since, as views; and the rows that a period is summed from, as SQL.

Whole UTC days come from `emissions_daily`; where a period begins or ends within a day, `emissions` gives its hours.
"""

from pipeline.equality import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE

NAMESPACE = "coalesce(namespace, case kind when 'workload' then '(unknown)' else '(' || kind || ')' end) as namespace"
DAY_US = 24 * 3600 * 1_000_000
FIGURES = "energy_joules, facility_energy_kwh, emissions_gco2e"


def rows_of(periods: str) -> str:
    """SQL of the rows that periods are summed from, each with its period, cluster and namespace.

    Args:
        periods: a relation with period, cluster, start_utc and end_utc.
    """
    return f"""
        with span as (
            select period, cluster, start_utc, end_utc,
                make_timestamptz((epoch_us(start_utc) + {DAY_US - 1}) // {DAY_US} * {DAY_US}) as first_utc,
                make_timestamptz(epoch_us(end_utc) // {DAY_US} * {DAY_US}) as last_utc
            from {periods}
        ), edge as (from span where start_utc < first_utc or last_utc < end_utc)
        select period, cluster, {NAMESPACE}, {FIGURES}, unpriced_energy_joules, intensity_factor_type, method_version
        from emissions_daily join span using (cluster)
        where date_utc >= first_utc and date_utc < last_utc
        union all
        select period, cluster, {NAMESPACE}, {FIGURES},
            case when emissions_gco2e is null then energy_joules else 0 end, intensity_factor_type, method_version
        from emissions join edge using (cluster)
        where hour_utc >= start_utc and hour_utc < end_utc and (hour_utc < first_utc or hour_utc >= last_utc)"""


def _apart(name: str) -> str:
    """What a figure changed by; 0 where old and new are equal as stored figures are (`equality.py`)."""
    old, new = f"coalesce(closed_{name}, 0)", f"coalesce({name}, 0)"
    bound = f"{RELATIVE_TOLERANCE} * greatest(abs({old}), abs({new})) + {ABSOLUTE_TOLERANCE}"
    return f"case when abs({new} - {old}) <= {bound} then 0 else {new} - {old} end"


CLOSING_VIEWS = {
    "closings_newest": "from closings qualify closed_utc = max(closed_utc) over (partition by period, cluster)",
    # Grams by another factor type are no restatement of these, but other figures: they are left out, and it shows.
    "restatements": f"""
        with closed as (
            select period, cluster, start_utc, end_utc, closed_utc, materiality_ratio,
                max(intensity_factor_type) as factor_type
            from closings_newest group by all
        ), current as (
            select period, cluster, namespace, sum(energy_joules) as energy_joules, sum(emissions_gco2e) filter (
                intensity_factor_type = factor_type or factor_type is null
            ) as emissions_gco2e
            from ({rows_of("closed")}) join closed using (period, cluster) group by all
        ), told as (
            select period, cluster, {NAMESPACE}, string_agg(distinct cause, ', ' order by cause) as causes
            from revisions join closed using (cluster)
            where hour_utc >= start_utc and hour_utc < end_utc and written_utc > closed_utc
            group by all
        ), late as (
            select distinct period, cluster from closed join (
                select cluster, hour_utc, min(written_utc) as first_utc from stored.hours
                where store is null and revision is not null group by all
            ) using (cluster) where hour_utc >= start_utc and hour_utc < end_utc and first_utc > closed_utc
        ), compared as (
            select period, cluster, namespace, old.energy_joules as closed_energy_joules, current.energy_joules,
                old.emissions_gco2e as closed_emissions_gco2e, current.emissions_gco2e
            from closings_newest as old full join current using (period, cluster, namespace)
        ), apart as (
            select *, {_apart("energy_joules")} as difference_joules, {_apart("emissions_gco2e")} as difference_gco2e
            from compared
        )
        select apart.*, difference_gco2e / nullif(abs(closed_emissions_gco2e), 0) as difference_ratio,
            case when difference_joules <> 0 or difference_gco2e <> 0 then
                nullif(concat_ws(', ', causes, case when late.period is not null then 'late' end), '') end as causes,
            abs(difference_gco2e) > materiality_ratio * coalesce(abs(closed_emissions_gco2e), 0)
                or abs(difference_joules) > materiality_ratio * coalesce(abs(closed_energy_joules), 0) as is_material,
            start_utc, end_utc, closed_utc, closed.factor_type as intensity_factor_type
        from apart join closed using (period, cluster)
        left join told using (period, cluster, namespace) left join late using (period, cluster)""",
}
