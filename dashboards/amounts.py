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

from dataclasses import dataclass

GRAMS = "carbon_emissions_grams"
IT_JOULES = "carbon_energy_joules"
FACILITY_JOULES = "carbon_facility_energy_joules"
NODE_GRAMS = "carbon_node_emissions_grams"
NODE_JOULES = "carbon_node_energy_joules"
METERED_JOULES = "carbon_node_metered_joules"
RESIDUAL_JOULES = "carbon_node_residual_joules"
COVERED_SECONDS = "carbon_node_covered_seconds"
EXPECTED_SECONDS = "carbon_node_expected_seconds"
PROCESS_JOULES = "carbon_process_energy_joules"
QUALITY_JOULES = "carbon_quality_energy_joules"
GRID_INTENSITY = "carbon_grid_intensity_grams_per_kwh"
PUE = "carbon_pue_ratio"

# Which variables of a dashboard choose among the series of a name, beside `cluster`.
CHOSEN_BY = {
    **dict.fromkeys((GRAMS, IT_JOULES, FACILITY_JOULES), ("team", "namespace", "workload")),
    **dict.fromkeys(
        (NODE_GRAMS, NODE_JOULES, METERED_JOULES, RESIDUAL_JOULES, COVERED_SECONDS, EXPECTED_SECONDS, PROCESS_JOULES),
        ("node",),
    ),
}
LABEL_OF = {"team": "namespace"}  # a team is chosen as the regular expression of its namespaces

RANGE = "[$__range]"
PREVIOUS_RANGE = "[$__range] offset $__range"
STEP = "[$__interval] offset -$__interval"
WHOLE_RANGE = "[$__range] @ end()"  # the same at each step: the end is that of the last one
HOUR = "[1h]"
# A subquery's steps are whole hours; the sample of the hour that ends at such a step is stamped 60 s before it.
EACH_HOUR_OF_RANGE = "[$__range:1h] offset -1m"

JOULES_PER_KWH = "3.6e6"
JOULES_PER_WH = "3600"


@dataclass(frozen=True)
class Choice:
    """What a dashboard lets its reader choose beside the cluster: variables, each of which limits what is counted."""

    variables: tuple[str, ...] = ()

    def selector(self, series: str, where: str = "") -> str:
        """`series` limited to what is chosen, as far as it has the labels for it, and to `where`."""
        chosen = [name for name in CHOSEN_BY.get(series, ()) if name in self.variables]
        matchers = ['cluster=~"$cluster"', *(f'{LABEL_OF.get(name, name)}=~"${name}"' for name in chosen)]
        if where:
            matchers.append(where)
        return f"{series}{{{', '.join(matchers)}}}"

    def amount(self, series: str, window: str, where: str = "") -> str:
        """Amounts of `window` as last published: every sample once, corrections included; labels as published."""
        return f"sum without (revision) (sum_over_time({self.selector(series, where)}{window}))"


def kwh(expr: str) -> str:
    """Joules as kilowatt hours."""
    return f"{expr} / {JOULES_PER_KWH}"


def each_hour(function: str, expr: str) -> str:
    """`function` over the values that `expr`, of windows of 1 h, has at each hour of the range."""
    return f"{function}(({expr}){EACH_HOUR_OF_RANGE})"


def zero_where(expr: str, known: str) -> str:
    """`expr`, and 0 where it has no answer but `known` has."""
    return f"{expr} or 0 * {known}"
