"""PromQL of the figures that are more than a sum: quotients, changes, budgets, and what is known of hours and runs."""

from dashboards.amounts import (
    FACILITY_JOULES,
    GRAMS,
    HOUR,
    IT_JOULES,
    JOULES_PER_KWH,
    PREVIOUS_RANGE,
    PUE,
    QUALITY_JOULES,
    RANGE,
    STEP,
    Choice,
    each_hour,
    zero_where,
)

LAST_SUCCESS = "carbon_etl_last_success_timestamp_seconds"
CHECK_FAILED = "carbon_etl_check_failed"


def priced_facility_joules(of: Choice, window: str) -> str:
    """Facility energy of what has grams, a cluster: all of it times the share of its IT energy that is not `missing`.

    Pricing is decided per cluster-hour, so this is exact in a window of 1 h. Matching grams to joules series by series
    gives the same at more than twice the cost (measured on Prometheus 2.42).
    """
    has_grams = of.amount(QUALITY_JOULES, window, where='intensity_quality!="missing"')
    share = f"sum by (cluster) ({has_grams}) / (sum by (cluster) ({of.amount(QUALITY_JOULES, window)}) > 0)"
    return f"sum by (cluster) ({of.amount(FACILITY_JOULES, window)}) * ({share})"


def _it_joules_with_pue(of: Choice, window: str) -> str:
    """IT energy of the clusters whose PUE is known in the window."""
    known = f"max by (cluster) (count_over_time({of.selector(PUE)}{window}))"
    return f"(sum by (cluster) ({of.amount(IT_JOULES, window)}) and {known})"


def grams_per_kwh_of_range(of: Choice, by: str = "") -> str:
    """Energy-weighted intensity of the range: grams over the facility energy of the hours that have grams."""
    total = f"sum by ({by})" if by else "sum"
    energy = each_hour("sum_over_time", f"{total}({priced_facility_joules(of, HOUR)})")
    return f"{total}({of.amount(GRAMS, RANGE)}) / ({energy} > 0) * {JOULES_PER_KWH}"


def grams_per_kwh(of: Choice, window: str = STEP) -> str:
    """The same a window and cluster, exact in a window of 1 h."""
    energy = f"({priced_facility_joules(of, window)} > 0)"
    return f"sum by (cluster) ({of.amount(GRAMS, window)}) / {energy} * {JOULES_PER_KWH}"


def pue_of_range(of: Choice) -> str:
    """Facility over IT energy of the range, of the hours whose PUE is known."""
    energy = each_hour("sum_over_time", f"sum({_it_joules_with_pue(of, HOUR)})")
    return f"sum({of.amount(FACILITY_JOULES, RANGE)}) / {energy}"


def pue_of_step(of: Choice) -> str:
    """The same a step and cluster, exact at a step of 1 h."""
    return f"sum by (cluster) ({of.amount(FACILITY_JOULES, STEP)}) / {_it_joules_with_pue(of, STEP)}"


def change_of_hourly_mean(of: Choice, by: str = "") -> str:
    """Grams per published hour against the range before: fair also where either range is only partly published.

    Of all that is chosen, or of each group of labels in `by`, `cluster` among them. Hours are counted on
    `carbon_pue_ratio`: one sample a cluster-hour, never revised.
    """

    def hourly_mean(window: str) -> str:
        hours = f"max by (cluster) (count_over_time({of.selector(PUE)}{window}))"
        means = f"sum by ({by or 'cluster'}) ({of.amount(GRAMS, window)}) / on (cluster) group_left () {hours}"
        return f"({means})" if by else f"sum({means})"

    return f"{hourly_mean(RANGE)} / ({hourly_mean(PREVIOUS_RANGE)} > 0) - 1"


def restated_grams(of: Choice) -> str:
    """What corrections added since the first publication; 0 where grams exist and none was corrected."""
    corrections = of.amount(GRAMS, RANGE, where='revision!="0"')
    return zero_where(f"sum({corrections})", f"sum({of.amount(GRAMS, RANGE)})")


def unpriced_share(of: Choice) -> str:
    """Share of IT energy without grams; 0 where energy exists and all of it is priced."""
    everything = f"sum({of.amount(QUALITY_JOULES, RANGE)})"
    unpriced = of.amount(QUALITY_JOULES, RANGE, where='intensity_quality="missing"')
    return f"({zero_where(f'sum({unpriced})', everything)}) / {everything}"


def quality_share_of_step(of: Choice) -> str:
    """Share of each step's IT energy by the quality of the intensity that priced it."""
    energy = of.amount(QUALITY_JOULES, STEP)
    return f"sum by (intensity_quality) ({energy}) / scalar(sum({energy}))"


def budget_grams_of_range() -> str:
    """The budget's share of the range: of each hour its part of its month, UTC. No answer where the budget is 0."""
    return each_hour("sum_over_time", _budget_of_hour("time() - 3600"))


def budget_grams_of_step() -> str:
    """The same a step. At half past each hour is counted once; at its edge it would be in two steps."""
    of_hour = f"{_budget_of_hour('time()')} and minute(vector(time())) == 30"
    return f"sum_over_time(({of_hour})[$__interval:30m] offset -$__interval)"


def _budget_of_hour(moment: str) -> str:
    return f"(vector($budget_kg) > 0) * 1000 / (24 * days_in_month(vector({moment})))"


def _entries_of_hour(of: Choice) -> str:
    counted = f"sum without (revision) (count_over_time({of.selector(QUALITY_JOULES)}{HOUR}))"
    return f"max by (cluster) ({counted})"


def first_hour_ms(of: Choice) -> str:
    """Where the first published hour of the range begins, a cluster; milliseconds since the epoch."""
    return f"1000 * {each_hour('min_over_time', f'0 * {_entries_of_hour(of)} + time() - 3600')}"


def last_hour_end_ms(of: Choice) -> str:
    """Where the last published hour of the range ends, a cluster; milliseconds since the epoch."""
    return f"1000 * {each_hour('max_over_time', f'0 * {_entries_of_hour(of)} + time()')}"


def published_hours(of: Choice) -> str:
    """How many hours of the range are published, a cluster."""
    return each_hour("count_over_time", _entries_of_hour(of))


def seconds_since_success(of: Choice) -> str:
    """Age of the last run that ended well, a cluster."""
    return f"time() - max by (cluster) (max_over_time({of.selector(LAST_SUCCESS)}[7d]))"


def unpublished_hours(of: Choice) -> str:
    """Hours that the latest run left out of the store, a cluster."""
    return f"max by (cluster) (last_over_time({of.selector('carbon_etl_unpublished_hours')}[7d]))"


def failed_checks(of: Choice) -> str:
    """How many checks failed in at least one run of the range; 0 where runs ended well and none did."""
    failed = f"max by (cluster, check) (max_over_time({of.selector(CHECK_FAILED)}{RANGE})) > 0"
    return zero_where(f"count({failed})", f"count(max_over_time({of.selector(LAST_SUCCESS)}{RANGE}))")


def last_of_step(of: Choice, series: str) -> str:
    """What the last run of the step reported, a cluster."""
    return f"sum by (cluster) (last_over_time({of.selector(series)}{STEP}))"
