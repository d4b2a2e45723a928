"""What whoever reads the totals has to know first, each in a line."""

from collections.abc import Iterator

from pipeline.period_report.document import Statement
from pipeline.period_report.figures import Closed, Figures, Part
from pipeline.period_report.numbers import Scale, kilograms, percent, ratio_of
from pipeline.period_report.wording import joined
from pipeline.window import HOUR

SETTLED = "measured"


def statements(figures: Figures) -> Iterator[Statement]:
    """All statements about a report, those about what it is before those about how good it is."""
    spans = figures.spans
    if spans.is_open:
        done, due = ((until - spans.start_utc) // HOUR for until in (spans.until_utc, spans.end_utc))
        yield Statement(
            "note",
            f"This period is not over: figures reach to {spans.until_utc:%Y-%m-%d %H:%M} UTC, {done:,} of "
            f"its {due:,} hours, and are compared with as many hours of the period before.",
        )
    if not figures.parts:
        yield Statement("warning", f"Nothing is stored of {spans.title}: there is nothing to report.")
    if figures.parts and figures.absent_clusters:
        yield Statement("warning", f"Nothing is stored of {joined(figures.absent_clusters)} in this period.")
    yield from _comparison(figures)
    if len(figures.parts) > 1:
        scopes = joined([part.scope for part in figures.parts])
        yield Statement(
            "warning",
            f"Grams are counted by two methods, which make no total: {scopes}. Each has its own figures below.",
        )
    for part in figures.parts:
        yield from _unpriced(part)
    yield from _hours(figures)
    yield from _nodes(figures)
    yield from _quality(figures)
    yield from _closed(figures)


def _comparison(figures: Figures) -> Iterator[Statement]:
    before, made = figures.spans.before_title, figures.provenance
    if figures.parts and not figures.is_before_known:
        yield Statement("note", f"Nothing is stored of {before}: no change can be told.")
    hours = (figures.spans.before_until_utc - figures.spans.before_start_utc) // HOUR * len(figures.coverage)
    if figures.is_before_known and figures.before_hours < hours:
        yield Statement(
            "note",
            f"Of {before} {figures.before_hours:,} of {hours:,} cluster-hours are stored: part of the change is that.",
        )
    for part in figures.parts:
        if figures.is_before_known and part.before is None:
            yield Statement("note", f"No change is told of what is {part.scope}: {before} has no such grams.")
        elif part.before is not None and part.before.unpriced_energy_kwh:
            share = percent(ratio_of(part.before.unpriced_energy_kwh, part.before.energy_kwh))
            yield Statement("note", f"Of {before} {share} of the energy has no grams, which its total lacks.")
    if figures.parts and figures.is_before_known:
        if set(made.method_versions) != set(made.before_method_versions):
            versions = f"{joined(made.before_method_versions)} and {joined(made.method_versions)}"
            yield Statement("note", f"Part of the change may be that of the method: versions {versions}.")
        providers = sorted({price.intensity_provider for price in figures.prices if price.intensity_provider})
        if figures.parts and providers and list(made.before_providers) != providers:
            yield Statement(
                "note",
                f"Grid figures came from {joined(made.before_providers) or 'nobody'} before and now come from "
                f"{joined(providers)}: part of the grid's change may be that of the source.",
            )


def _unpriced(part: Part) -> Iterator[Statement]:
    now = part.now
    if now.unpriced_energy_kwh:
        kwh, share = (
            Scale.of([now.energy_kwh]).text(now.unpriced_energy_kwh),
            percent(ratio_of(now.unpriced_energy_kwh, now.energy_kwh)),
        )
        yield Statement(
            "warning",
            f"{kwh} kWh ({share} of the energy) have no grams for want of an intensity or PUE: the total lacks them.",
        )


def _hours(figures: Figures) -> Iterator[Statement]:
    if not figures.coverage:
        return
    lacking = {
        "missing": sum(cluster.missing_hours for cluster in figures.coverage),
        "failed": sum(cluster.failed_hours for cluster in figures.coverage),
        "without any node": sum(cluster.empty_hours for cluster in figures.coverage),
        "partial": sum(cluster.partial_hours for cluster in figures.coverage),
    }
    expected = sum(cluster.expected_hours for cluster in figures.coverage)
    told = [f"{count:,} {what}" for what, count in lacking.items() if count]
    if told:
        yield Statement(
            "warning", f"Of {expected:,} cluster-hours, {joined(told)}: energy used then is not in the totals."
        )
    elif figures.parts:
        yield Statement("good", f"All {expected:,} cluster-hours are complete.")
    for one in figures.coverage:
        if one.first_utc > figures.spans.start_utc:
            yield Statement("note", f"Of {one.cluster} nothing is stored before {one.first_utc:%Y-%m-%d %H:%M} UTC.")


def _nodes(figures: Figures) -> Iterator[Statement]:
    holes = sum(cluster.hole_node_hours + cluster.silent_node_hours for cluster in figures.coverage)
    withheld = sum(cluster.withheld_node_hours for cluster in figures.coverage)
    refused = sum(cluster.implausible_node_hours for cluster in figures.coverage)
    seen = sum(cluster.node_hours + cluster.silent_node_hours for cluster in figures.coverage)
    if holes:
        yield Statement("warning", f"Node-hours not metered throughout: {holes:,} of {seen:,}; nothing is filled in.")
    if withheld:
        yield Statement(
            "warning",
            f"Node-hours whose workloads contradict their machine's meter: {withheld:,}; that energy counts as system.",
        )
    if refused:
        yield Statement("warning", f"Node-hours with readings that no machine can have used: {refused:,}; left out.")


def _quality(figures: Figures) -> Iterator[Statement]:
    energy = sum(price.energy_kwh for price in figures.prices)
    measured = sum(price.energy_kwh for price in figures.prices if price.intensity_quality == SETTLED)
    if energy:
        share = percent(measured / energy)
        rest = "" if measured == energy else "; the rest is estimated, stood in for, or not known (see Data quality)"
        yield Statement(
            "good" if measured == energy else "note", f"{share} of the energy is priced by measured grid figures{rest}."
        )


def _closed(figures: Figures) -> Iterator[Statement]:
    closed = {one.cluster for one in figures.closed}
    changed = [one for one in figures.closed if one.changed_namespaces]
    open_clusters = [name for name in figures.clusters if name not in closed]
    if open_clusters and figures.parts:
        yield Statement("note", f"These figures are not closed for {joined(open_clusters)}: they may still change.")
    if closed and not changed:
        yield Statement("good", f"The books are closed for {joined(sorted(closed))}, and nothing changed since.")
    for one in changed:
        yield Statement("warning" if one.is_material else "note", _restated(one))


def _restated(one: Closed) -> str:
    before, now = (Scale(1).text(kilograms(grams)) for grams in (one.closed_emissions_gco2e, one.emissions_gco2e))
    weight = "materially" if one.is_material else "not materially"
    return (
        f"{one.cluster} was closed on {one.closed_utc:%Y-%m-%d} at {before} kg and is {weight} restated since, to "
        f"{now} kg ({one.causes or 'cause not known'})."
    )
