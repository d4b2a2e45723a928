"""The PromQL of the dashboards: amounts of a range or of a step, exact for series that hold one sample an hour.

Four facts decide every line here:

* A sample is the amount of the hour that ends 60 s after its stamp, and it arrives late: an instant lookup finds
  nothing, so each selector carries a window.
* A correction is a further sample, often negative, under its own `revision`: the sum over revisions comes first,
  directly around the window, before any other sum, share or ranking can see the parts apart.
* Grafana evaluates a range query at T = floor(from), T + step .. floor(to). `offset -$__interval` makes the point at T
  the amount of [T, T + step), so that the hours from `from` to `to` are counted once each and none before `from` is.
* Grams of an hour without intensity do not exist. A quotient counts only energy that has its grams, hour by hour:
  null is not 0.

`$__range` and `$__interval` are Grafana's; both end in whole hours of samples because the panels' minimum step is 1 h.
"""

GRAMS = "carbon_emissions_grams"
IT_JOULES = "carbon_energy_joules"
FACILITY_JOULES = "carbon_facility_energy_joules"
NODE_GRAMS = "carbon_node_emissions_grams"
NODE_JOULES = "carbon_node_energy_joules"
QUALITY_JOULES = "carbon_quality_energy_joules"
GRID_INTENSITY = "carbon_grid_intensity_grams_per_kwh"
PUE = "carbon_pue_ratio"

WORKLOAD_SERIES = (GRAMS, IT_JOULES, FACILITY_JOULES)

RANGE = "[$__range]"
PREVIOUS_RANGE = "[$__range] offset $__range"
STEP = "[$__interval] offset -$__interval"
HOUR = "[1h]"
# A subquery's steps are whole hours; the sample of the hour that ends at such a step is stamped 60 s before it.
EACH_HOUR_OF_RANGE = "[$__range:1h] offset -1m"

JOULES_PER_KWH = "3.6e6"
JOULES_PER_WH = "3600"


def selector(series: str, where: str = "") -> str:
    """`series` limited to the chosen clusters and, where it has namespaces, to the chosen ones."""
    matchers = ['cluster=~"$cluster"']
    if series in WORKLOAD_SERIES:
        matchers.append('namespace=~"$namespace"')
    if where:
        matchers.append(where)
    return f"{series}{{{', '.join(matchers)}}}"


def amount(series: str, window: str, where: str = "") -> str:
    """Joules or grams of `window` as last published: every sample once, corrections included; labels as published."""
    return f"sum without (revision) (sum_over_time({selector(series, where)}{window}))"


def _priced_facility_joules(window: str) -> str:
    """Facility energy of what has grams, a cluster: all of it times the share of its IT energy that is not `missing`.

    Pricing is decided per cluster-hour, so this is exact in a window of 1 h. Matching grams to joules series by series
    gives the same at more than twice the cost (measured on Prometheus 2.42).
    """
    has_grams = amount(QUALITY_JOULES, window, where='intensity_quality!="missing"')
    share = f"sum by (cluster) ({has_grams}) / (sum by (cluster) ({amount(QUALITY_JOULES, window)}) > 0)"
    return f"sum by (cluster) ({amount(FACILITY_JOULES, window)}) * ({share})"


def _it_joules_with_pue(window: str) -> str:
    """IT energy of the clusters whose PUE is known in the window."""
    known = f"max by (cluster) (count_over_time({selector(PUE)}{window}))"
    return f"(sum by (cluster) ({amount(IT_JOULES, window)}) and {known})"


def grams_per_kwh_of_range() -> str:
    """Energy-weighted intensity of the range: grams over the facility energy of the hours that have grams."""
    energy = f"sum_over_time(sum({_priced_facility_joules(HOUR)}){EACH_HOUR_OF_RANGE})"
    return f"sum({amount(GRAMS, RANGE)}) / {energy} * {JOULES_PER_KWH}"


def grams_per_kwh_of_step() -> str:
    """The same a step and cluster, exact at a step of 1 h."""
    return f"sum by (cluster) ({amount(GRAMS, STEP)}) / ({_priced_facility_joules(STEP)}) * {JOULES_PER_KWH}"


def pue_of_range() -> str:
    """Facility over IT energy of the range, of the hours whose PUE is known."""
    energy = f"sum_over_time(sum({_it_joules_with_pue(HOUR)}){EACH_HOUR_OF_RANGE})"
    return f"sum({amount(FACILITY_JOULES, RANGE)}) / {energy}"


def pue_of_step() -> str:
    """The same a step and cluster, exact at a step of 1 h."""
    return f"sum by (cluster) ({amount(FACILITY_JOULES, STEP)}) / {_it_joules_with_pue(STEP)}"


def change_of_hourly_mean() -> str:
    """Grams per published hour against the range before: fair also where either range is only partly published.

    Hours are counted on `carbon_pue_ratio`: one sample a cluster-hour, never revised.
    """

    def hourly_mean(window: str) -> str:
        hours = f"max by (cluster) (count_over_time({selector(PUE)}{window}))"
        return f"sum(sum by (cluster) ({amount(GRAMS, window)}) / {hours})"

    return f"{hourly_mean(RANGE)} / ({hourly_mean(PREVIOUS_RANGE)} > 0) - 1"


def restated_grams() -> str:
    """What corrections added since the first publication; 0 where grams exist and none was corrected."""
    corrections = amount(GRAMS, RANGE, where='revision!="0"')
    return f"sum({corrections}) or 0 * sum({amount(GRAMS, RANGE)})"


def unpriced_share() -> str:
    """Share of IT energy without grams; 0 where energy exists and all of it is priced."""
    everything = f"sum({amount(QUALITY_JOULES, RANGE)})"
    unpriced = amount(QUALITY_JOULES, RANGE, where='intensity_quality="missing"')
    return f"(sum({unpriced}) or 0 * {everything}) / {everything}"


def quality_share_of_step() -> str:
    """Share of each step's IT energy by the quality of the intensity that priced it."""
    energy = amount(QUALITY_JOULES, STEP)
    return f"sum by (intensity_quality) ({energy}) / scalar(sum({energy}))"


WORKLOAD = "cluster, namespace, workload_kind, workload"


def top_workload_grams(count: int) -> str:
    """The `count` workloads with the most grams in the range."""
    grams = amount(GRAMS, RANGE, where='kind="workload"')
    return f"topk({count}, sum by ({WORKLOAD}) ({grams}))"


def top_workload_kwh(count: int) -> str:
    """Facility energy of the same workloads."""
    energy = amount(FACILITY_JOULES, RANGE, where='kind="workload"')
    return f"sum by ({WORKLOAD}) ({energy}) / {JOULES_PER_KWH} and {top_workload_grams(count)}"


def top_node_grams(count: int) -> str:
    """The `count` nodes with the most grams in the range, everything on them included."""
    return f"topk({count}, sum by (cluster, node) ({amount(NODE_GRAMS, RANGE)}))"


def _entries_of_hour() -> str:
    counted = f"sum without (revision) (count_over_time({selector(QUALITY_JOULES)}{HOUR}))"
    return f"max by (cluster) ({counted})"


def first_hour_ms() -> str:
    """Where the first published hour of the range begins, a cluster; milliseconds since the epoch."""
    return f"1000 * min_over_time((0 * {_entries_of_hour()} + time() - 3600){EACH_HOUR_OF_RANGE})"


def last_hour_end_ms() -> str:
    """Where the last published hour of the range ends, a cluster; milliseconds since the epoch."""
    return f"1000 * max_over_time((0 * {_entries_of_hour()} + time()){EACH_HOUR_OF_RANGE})"


def published_hours() -> str:
    """How many hours of the range are published, a cluster."""
    return f"count_over_time({_entries_of_hour()}{EACH_HOUR_OF_RANGE})"


def seconds_since_success() -> str:
    """Age of the last run that ended well, a cluster."""
    return f"time() - max by (cluster) (max_over_time({selector('carbon_etl_last_success_timestamp_seconds')}[7d]))"


def unpublished_hours() -> str:
    """Hours that the latest run left out of the store, a cluster."""
    return f"max by (cluster) (last_over_time({selector('carbon_etl_unpublished_hours')}[7d]))"


def failed_checks() -> str:
    """How many checks failed in at least one run of the range; 0 where runs ended well and none did."""
    failed = f"max by (cluster, check) (max_over_time({selector('carbon_etl_check_failed')}{RANGE})) > 0"
    runs = f"count(max_over_time({selector('carbon_etl_last_success_timestamp_seconds')}{RANGE}))"
    return f"count({failed}) or 0 * {runs}"


def failed_checks_of_step() -> str:
    """The checks themselves: the greatest value that a run of the step reported."""
    return f"max by (cluster, check) (max_over_time({selector('carbon_etl_check_failed')}{STEP}))"


def residual_joules_of_step() -> str:
    """What the last run of the step reported as metered but booked nowhere; signed."""
    return f"sum by (cluster) (last_over_time({selector('carbon_etl_residual_joules')}{STEP}))"
