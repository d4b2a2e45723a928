"""Pipeline health: whether runs end well, what they report, and what they had to correct."""

from grafana_foundation_sdk.builders import dashboard, table, timeseries

from dashboards import figures, sections
from dashboards.amounts import GRAMS, IT_JOULES, RANGE, STEP, Choice, zero_where
from dashboards.frame import choose, frame, reach
from dashboards.panels import GRAM, JOULE, PLAIN, RATIO, SECOND, Column, Curve, bars, figure, listing, trend

OF = Choice()
CORRECTIONS = 'revision!="0"'


def board() -> dashboard.Dashboard:
    """The pipeline itself."""
    about = "Freshness, checks, corrections and quality of what carbon-etl publishes."
    made = frame("pipeline-health", "Carbon: pipeline health", about, (choose("cluster", IT_JOULES),))
    counted = f"sum(sum without (revision) (count_over_time({OF.selector(GRAMS, CORRECTIONS)}{RANGE})))"
    entries = figure(
        "Correcting entries", zero_where(counted, f"sum({OF.amount(GRAMS, RANGE)})"), PLAIN,
        "How many samples of carbon_emissions_grams in the range have a revision other than 0.",
    )  # fmt: skip
    runs = figure(
        "Runs that ended well", f"sum(count_over_time({OF.selector(figures.LAST_SUCCESS)}{RANGE}))", PLAIN,
        "How many samples of carbon_etl_last_success_timestamp_seconds the range holds, all chosen clusters together: "
        "one a run and cluster that ended without a failure.",
    )  # fmt: skip
    of_range = sections.failed_checks(OF), runs, entries, sections.restated(OF)
    for panel in (*reach(OF), *(one.span(6) for one in of_range)):
        made.with_panel(panel)
    made.with_row(dashboard.Row("Checks")).with_panel(_failed()).with_panel(_checks())
    made.with_row(dashboard.Row("Runs")).with_panel(_seconds()).with_panel(_rows())
    made.with_panel(_residual()).with_panel(_unpublished())
    made.with_row(dashboard.Row("Corrections and quality")).with_panel(_corrections())
    made.with_panel(sections.quality(OF))
    return made


def _failed() -> timeseries.Panel:
    failed = f"max by (cluster, check) (max_over_time({OF.selector(figures.CHECK_FAILED)}{STEP})) > 0"
    about = "Checks whose carbon_etl_check_failed was above 0 in a run of the step. No data: none failed."
    return bars("Failed checks over time", [Curve(failed, "{{check}} ({{cluster}})")], PLAIN, about)


def _checks() -> table.Panel:
    reported = OF.selector(figures.CHECK_FAILED)
    columns = [
        Column("Runs", f"sum by (cluster, check) (count_over_time({reported}{RANGE}))", PLAIN),
        Column("Failed", f"sum by (cluster, check) (sum_over_time({reported}{RANGE}))", PLAIN),
        Column("Share", f"avg by (cluster, check) (avg_over_time({reported}{RANGE}))", RATIO),
    ]
    about = (
        "carbon_etl_check_failed by check: how many runs of the range made it, in how many it failed, and their share. "
        "What each means: docs/reference.md, Checks."
    )
    return listing("Checks", columns, about, sort_by="Failed")


def _of_runs(title: str, series: str, unit: str, about: str) -> timeseries.Panel:
    curve = Curve(figures.last_of_step(OF, series), "{{cluster}}")
    return trend(title, [curve], unit, f"{series} of the last run in the step, a cluster: {about}")


def _seconds() -> timeseries.Panel:
    return _of_runs("Duration of runs", "carbon_etl_run_seconds", SECOND, "how long it took up to publishing.")


def _rows() -> timeseries.Panel:
    return _of_runs("Rows computed", "carbon_etl_rows", PLAIN, "rows of emissions that it folded or priced.")


def _residual() -> timeseries.Panel:
    about = "metered - workloads - system - idle. Signed; no sample where a meter gives no system share of its own."
    return _of_runs("Residual", "carbon_etl_residual_joules", JOULE, about)


def _unpublished() -> timeseries.Panel:
    about = "hours in the warehouse that this store does not hold at their newest revision."
    return _of_runs("Unpublished hours over time", "carbon_etl_unpublished_hours", PLAIN, about)


def _corrections() -> timeseries.Panel:
    curve = Curve(f"sum by (cluster) ({OF.amount(GRAMS, STEP, where=CORRECTIONS)})", "{{cluster}}")
    about = (
        "What correcting entries (revision 1, 2 ...) added to carbon_emissions_grams, at the hours they correct; "
        f"negative where the grid turned out cleaner. {sections.PER_HOUR}"
    )
    return bars("Corrections published", [curve], GRAM, about)
