"""How good the figures are, whether they stand, and by what they were made."""

from collections import defaultdict
from datetime import datetime

from pipeline.period_report.document import Bar, Column, Section, Table
from pipeline.period_report.figures import Figures
from pipeline.period_report.numbers import NONE, Scale, kilograms, percent, ratio_of
from pipeline.period_report.wording import GLOSSARY, SOURCES, Source, boundary

RATIO = Scale(3)
KG = Scale(1)
UNKNOWN = "(unknown)"
HOURS = ("expected", "complete", "partial", "empty", "failed", "missing", "restated")
NODE_HOURS = {
    "seen": "node_hours",
    "with holes": "hole_node_hours",
    "silent": "silent_node_hours",
    "withheld": "withheld_node_hours",
    "implausible": "implausible_node_hours",
}


def quality(figures: Figures) -> Section:
    """Shares of energy by how it was priced, coverage, and what was withheld."""
    tables = [_prices(figures), _hours(figures), _nodes(figures)]
    if figures.quarantined:
        rows = tuple(
            (one.cluster, one.check, f"{one.rows:,}", Scale(3).text(one.energy_kwh)) for one in figures.quarantined
        )
        columns = (Column("cluster"), Column("check"), *_numbers("rows", "kWh"))
        tables.append(Table("Withheld or left out, by the check that failed", columns, rows))
    return Section("Data quality", (boundary(figures),), tables=tuple(tables))


def _numbers(*headings: str) -> tuple[Column, ...]:
    return tuple(Column(heading, is_number=True) for heading in headings)


def _prices(figures: Figures) -> Table:
    """Energy by quality and basis of its intensity, over all clusters."""
    energy: dict[tuple[str, str], float] = defaultdict(float)
    for price in figures.prices:
        energy[price.intensity_quality, price.intensity_basis or UNKNOWN] += price.energy_kwh
    whole = sum(energy.values())
    scale = Scale.of(energy.values())
    rows = tuple(
        (quality, basis, scale.text(kwh), Bar(0, kwh / whole if whole else 0.0, text=percent(ratio_of(kwh, whole))))
        for (quality, basis), kwh in sorted(energy.items(), key=lambda item: -item[1])
    )
    columns = (Column("quality"), Column("basis"), *_numbers("IT kWh", "share"))
    return Table("Energy by quality and basis of its grid figures", columns, rows)


def _hours(figures: Figures) -> Table:
    rows = tuple((one.cluster, *(f"{getattr(one, f'{name}_hours'):,}" for name in HOURS)) for one in figures.coverage)
    return Table("Hours by state, from each cluster's first hour on", (Column("cluster"), *_numbers(*HOURS)), rows)


def _nodes(figures: Figures) -> Table:
    rows = tuple(
        (
            one.cluster,
            *(f"{getattr(one, name):,}" for name in NODE_HOURS.values()),
            NONE if one.covered_ratio is None else percent(one.covered_ratio),
        )
        for one in figures.coverage
    )
    columns = (Column("cluster"), *_numbers(*NODE_HOURS, "time metered"))
    return Table("Node-hours, and how much of their time was metered", columns, rows)


def books(figures: Figures) -> Section:
    """Which totals were closed, and what became of them."""
    if not figures.closed:
        return Section("Closed books", ("This period is not closed: its figures may still change.",))
    rows = tuple(
        (
            one.cluster,
            _moment(one.closed_utc),
            KG.text(kilograms(one.closed_emissions_gco2e)),
            KG.text(kilograms(one.emissions_gco2e)),
            f"{one.changed_namespaces:,}",
            ("yes" if one.is_material else "no") if one.changed_namespaces else "unchanged",
            one.causes or NONE,
        )
        for one in figures.closed
    )
    columns = (
        Column("cluster"), Column("closed"), *_numbers("kg CO₂e closed", "kg CO₂e now", "namespaces changed"),
        Column("material"), Column("causes"),
    )  # fmt: skip
    return Section("Closed books", tables=(Table("Closed totals and what they come to now", columns, rows),))


def sources(figures: Figures) -> Section:
    """Whose grid figures and PUE the grams are made of."""
    energy: dict[tuple[str, str], float] = defaultdict(float)
    for price in figures.prices:
        if price.intensity_provider is not None:
            energy[price.intensity_provider, price.intensity_zone or UNKNOWN] += price.energy_kwh
    scale = Scale.of(energy.values())
    rows = tuple(
        (provider, zone, scale.text(kwh), *SOURCES.get(provider, Source(provider, "not known here")))
        for (provider, zone), kwh in sorted(energy.items(), key=lambda item: -item[1])
    )
    grid_columns = (Column("provider"), Column("zone"), *_numbers("IT kWh"), Column("source"), Column("licence"))
    pues = tuple(
        (
            one.cluster,
            one.pue_source or UNKNOWN,
            NONE if one.least_pue_ratio is None else RATIO.text(one.least_pue_ratio),
            NONE if one.most_pue_ratio is None else RATIO.text(one.most_pue_ratio),
            scale.text(one.energy_kwh),
        )
        for one in figures.pues
    )
    columns = (Column("cluster"), Column("source of PUE"), *_numbers("least", "most", "IT kWh"))
    tables = (Table("Grid figures", grid_columns, rows), Table("PUE", columns, pues))
    return Section("Sources and licences", tables=tables)


def provenance(figures: Figures) -> Section:
    """By what the figures were made."""
    made, spans = figures.provenance, figures.spans
    runs = f"{len(made.run_ids):,}"
    if made.run_ids:
        runs += f", from {made.run_ids[0]} to {made.run_ids[-1]} (all of them in the JSON report)"
    meters = "; ".join(f"{one.meter}: {', '.join(one.components)}" for one in figures.meters)
    return Section(
        "How it was made",
        terms=(
            ("Period", f"{_moment(spans.start_utc)} to {_moment(spans.until_utc)}"),
            ("Compared with", f"{_moment(spans.before_start_utc)} to {_moment(spans.before_until_utc)}"),
            ("Clusters", ", ".join(figures.clusters) or NONE),
            ("Meters", meters or NONE),
            ("Method", f"version {', '.join(made.method_versions) or NONE}: docs/methodology.md of carbon-etl"),
            ("Configuration", ", ".join(made.config_digests) or NONE),
            ("Runs", runs),
            ("Priced", f"{_moment(made.first_priced_utc)} to {_moment(made.last_priced_utc)}"),
            ("Computed by", f"carbon-etl {', '.join(made.carbon_etl_versions) or UNKNOWN}"),
            ("Reported by", f"carbon-etl {figures.carbon_etl_version}, {_moment(figures.made_utc)}"),
        ),
    )  # fmt: skip


def glossary() -> Section:
    """What the terms mean."""
    return Section("Glossary", terms=GLOSSARY)


def _moment(moment: datetime | None) -> str:
    return NONE if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
