"""Market-based and marginal grams as views over the same energy, and macros that keep a total of one basis.

Both views price a row as `transforms/emissions.py` does: step by step where `step_joules` says when, else by the mean
of the hour, of figures in twelve slots of five minutes. A slot with energy and without a figure leaves the row null.
"""

from pipeline.settings.market import SCOPES
from pipeline.tables import EMISSIONS_KEY

QUALITIES = ("measured", "estimated", "forecast")  # of stored figures, best first


def _scope() -> str:
    """The name of a total by its signal and factor type; null for what has none."""
    cases = " ".join(
        f"when signal = '{signal}' and factor_type = '{factors}' then '{name}'"
        for (signal, factors), name in SCOPES.items()
    )
    return f"case {cases} end"


PRICED = "filter (grams is not null and factor_type is not null)"
WRITTEN = "'%Y-%m-%dT%H:%MZ'"
# Of two factor types each begins somewhere: the smaller and the greater hash, joined with the hour into one number, for
# comparing structs row by row would cost more than all the rest of a query.
TYPE = f"(hash(factor_type) % {1 << 42})::bigint * {1 << 20}"
HOURS = "epoch_us(hour_utc) // 3600000000"
ROW = "{'of': factor_type, 'cluster': cluster, 'at': hour_utc}"
ONE = f"arg_min({ROW}, {TYPE} + {HOURS}) {PRICED}"
OTHER = f"arg_max({ROW}, {TYPE} - {HOURS}) {PRICED}"


def _since(found: str) -> str:
    return f"""({found}).of || ' (cluster ' || ({found}).cluster || ' from '
            || strftime(utc_time(({found}).at), {WRITTEN}) || ' on)'"""


# A step's joules lie evenly in its slots; without joules the hour counts evenly.
SLOT_JOULES = "step_joules[(slot * len(step_joules)) // 12 + 1]"
MACROS = {
    "scope_of(signal, factor_type)": _scope(),
    "utc_time(moment)": "make_timestamp(epoch_us(moment))",
    "total_gco2e(grams, factor_type, cluster, hour_utc)": f"""
        case when ({ONE}).of <> ({OTHER}).of then error(
            'no total of grams by ' || least({_since(ONE)}, {_since(OTHER)})
            || ' and by ' || greatest({_since(ONE)}, {_since(OTHER)})
            || ' factors: group or filter by factor type, or restate with carbon-etl reprice --since '
            || strftime(utc_time(min(hour_utc) {PRICED}), {WRITTEN})
        ) else sum(grams) end""",
    "energy_share(energy_joules, condition)": """
        coalesce(sum(energy_joules) filter (condition), 0) / nullif(sum(energy_joules), 0)""",
    "energy_mean(step_joules, slots)": f"""
        case
            when coalesce(list_sum(step_joules), 0) = 0 then case when list_count(slots) = 12 then list_avg(slots) end
            when list_bool_or(list_transform(range(12), lambda slot: {SLOT_JOULES} > 0 and slots[slot + 1] is null))
                then null
            else list_sum(list_transform(range(12), lambda slot: {SLOT_JOULES} * coalesce(slots[slot + 1], 0)))
                / list_sum(list_transform(range(12), lambda slot: {SLOT_JOULES}))
        end""",
}

INSIDE = """(start_utc <= hour_utc + slot * interval 5 minutes
            and end_utc >= hour_utc + (slot + 1) * interval 5 minutes)"""
HOURS_TOUCHED = """unnest(generate_series(
            greatest(time_bucket(interval 1 hour, start_utc), first_utc),
            least(end_utc - interval 1 microsecond, last_utc),
            interval 1 hour
        )) as hour_utc"""
# Whole days, told by the folders' names alone.
SPAN = """span as (
            select cluster, make_timestamptz(epoch_us(min(date)::timestamp)) as first_utc,
                make_timestamptz(epoch_us(max(date) + interval 23 hours)) as last_utc
            from emissions group by cluster
        )"""


def _over_energy(signal: str, columns: str) -> str:
    """The view of one signal: emissions' keys and energy, its intensity, grams, factor type, scope and `columns`."""
    keys = ", ".join(f"emissions.{name}" for name in EMISSIONS_KEY)
    return f"""
        with priced as (
            select {keys}, energy_joules, facility_energy_kwh, energy_mean(step_joules, slots_g_per_kwh) as g_per_kwh,
                factor_type, {columns}
            from emissions left join stored.{signal}_hours as told
                on told.cluster = emissions.cluster
                -- of a pruned day nobody knows when its energy was used; as an equation the join stays a hash join
                and told.hour_utc = case when emissions.node is not null then emissions.hour_utc end
        )
        select {", ".join(EMISSIONS_KEY)}, energy_joules, facility_energy_kwh,
            g_per_kwh as {signal}_intensity_g_per_kwh,
            case when energy_joules = 0 then 0 else facility_energy_kwh * g_per_kwh end as {signal}_emissions_gco2e,
            factor_type, scope_of('{signal}', factor_type) as scope,
            * exclude ({", ".join(EMISSIONS_KEY)}, energy_joules, facility_energy_kwh, g_per_kwh, factor_type)
        from priced"""


COVERED = "coalesce(energy_mean(step_joules, slots_covered), 0) as covered_ratio"
SIGNAL_VIEWS = {
    "market_factors_newest": """
        select * from (from market_factors qualify fetched_utc = max(fetched_utc) over (partition by cluster))
        where start_utc is not null""",
    "cluster_zones_newest": """
        select * from (from cluster_zones qualify fetched_utc = max(fetched_utc) over (partition by cluster))
        where zone is not null""",
    # A cluster's own lines go before those of its zone, contracts and residual mixes each for themselves.
    "stored.market_hours": f"""
        with {SPAN}, hour as (
            select told.*, {HOURS_TOUCHED} from market_factors_newest as told join span using (cluster)
        ), slotted as (
            select *, {INSIDE} as inside from hour, range(12) as twelve(slot)
            qualify rank() over (
                partition by cluster, hour_utc, slot, share_ratio is null, inside order by zone is not null
            ) = 1
        ), mixed as (
            select cluster, hour_utc, slot, any_value(factor_type) as factor_type, max(fetched_utc) as fetched_utc,
                coalesce(sum(share_ratio) filter (inside), 0) as contracted,
                coalesce(sum(share_ratio * g_per_kwh) filter (inside), 0) as contract_g,
                any_value(g_per_kwh) filter (inside and share_ratio is null) as residual_g,
                list(distinct instrument) filter (inside and share_ratio is not null) as contracts
            from slotted group by cluster, hour_utc, slot
        ), whole as (select *, contracted > 1 - 1e-9 as is_whole from mixed)
        select cluster, hour_utc, any_value(factor_type) as factor_type, max(fetched_utc) as fetched_utc,
            list(case when is_whole then contract_g else contract_g + (1 - contracted) * residual_g end order by slot)
                as slots_g_per_kwh,
            list(case when is_whole or residual_g is not null then 1 else contracted end order by slot)
                as slots_covered,
            list(least(contracted, 1) order by slot) as slots_contracted,
            array_to_string(list_sort(list_distinct(flatten(list(coalesce(contracts, []))))), ', ') as contracts,
            bool_or(not is_whole and residual_g is not null) as by_residual_mix
        from whole group by cluster, hour_utc""",
    "emissions_market": _over_energy(
        "market",
        f"""nullif(concat_ws(', ', nullif(contracts, ''), case when by_residual_mix then 'residual mix' end), '')
                    as instruments,
                coalesce(energy_mean(step_joules, slots_contracted), 0) as contracted_ratio,
                {COVERED}, fetched_utc""",
    ),
    "stored.marginal_hours": f"""
        with {SPAN}, hour as (
            select zones.cluster, intensity.*, {HOURS_TOUCHED}
            from cluster_zones_newest as zones
            join intensity on intensity.zone = zones.zone and intensity.provider = zones.provider
                and intensity.signal = zones.signal and intensity.factor_type = zones.factor_type
            join span on span.cluster = zones.cluster
            where zones.signal = 'marginal'
        ), slotted as (
            select *, {INSIDE} as inside from hour, range(12) as twelve(slot)
            qualify row_number() over (
                partition by cluster, hour_utc, slot
                order by inside desc, fetched_utc desc, updated_utc desc nulls last
            ) = 1
        ), told as (select *, case when inside then carbon_intensity_g_per_kwh end as g_per_kwh from slotted)
        select cluster, hour_utc, any_value(factor_type) as factor_type,
            list(g_per_kwh order by slot) as slots_g_per_kwh,
            list(case when g_per_kwh is null then 0.0 else 1.0 end order by slot) as slots_covered,
            any_value(provider) as provider, any_value(zone) as zone,
            arg_max(quality, list_position({list(QUALITIES)}, quality)) filter (g_per_kwh is not null) as quality,
            max(updated_utc) filter (inside) as updated_utc, max(fetched_utc) filter (inside) as fetched_utc
        from told group by cluster, hour_utc""",
    "emissions_marginal": _over_energy("marginal", f"provider, zone, quality, {COVERED}, updated_utc, fetched_utc"),
}
