"""What a period came to: its totals, what changed, and who caused it."""

from dataclasses import asdict
from itertools import accumulate

from pipeline.period_report.amounts import Amounts, Line
from pipeline.period_report.decomposition import Effects
from pipeline.period_report.document import Bar, Card, Column, Section, Table
from pipeline.period_report.numbers import Scale, ratio_of, signed_percent
from pipeline.period_report.wording import EFFECTS, LABEL_OF_KIND, boundary
from pipeline.period_report.writer import Writer

FINE, COARSE = Scale(3), Scale(1)
UNKNOWN = "(unknown)"
EXACT = (
    "The parts add up to the change exactly, and none depends on the order in which they are taken (Shapley's rule). "
    "The grid's part includes when power was drawn and whose figures priced it."
)
Row = tuple[str | Bar, ...]


def summary(writer: Writer) -> Section:
    """The key figures, each against the period before, with scope and boundary."""
    now, before = writer.part.now, writer.part.before
    paragraphs = [f"All grams are {writer.part.scope}.", boundary(writer.figures)]
    if before is not None and writer.part.effects is not None:
        paragraphs.insert(0, _story(writer, before, writer.part.effects))

    def against(name: str) -> str:
        if before is None:
            return ""
        old, new = getattr(before, name), getattr(now, name)
        change = None if old is None or new is None else new - old
        return f"{signed_percent(ratio_of(change, old))} against {writer.figures.spans.before_title}"

    cards = (
        Card("Emissions", writer.kg(now.emissions_gco2e), "kg CO₂e", against("emissions_gco2e")),
        Card("IT energy", writer.kwh(now.energy_kwh), "kWh", against("energy_kwh")),
        Card("Facility energy", writer.kwh(now.facility_energy_kwh), "kWh", f"PUE {FINE.text(now.pue_ratio)}"),
        Card(
            "Grid intensity", COARSE.text(now.carbon_intensity_g_per_kwh), "g/kWh",
            against("carbon_intensity_g_per_kwh"),
        ),
    )  # fmt: skip
    return Section("Key figures", tuple(paragraphs), cards)


def _story(writer: Writer, before: Amounts, effects: Effects) -> str:
    """The change and what made it, in a sentence, the greatest part first."""
    spans, part = writer.figures.spans, writer.part
    ratio = signed_percent(ratio_of(part.change_gco2e, before.emissions_gco2e))
    told = (
        f"{spans.title} came to {writer.kg(part.now.emissions_gco2e)} kg CO₂e: "
        f"{writer.kg(part.change_gco2e, is_change=True)} kg ({ratio}) against the "
        f"{writer.kg(before.emissions_gco2e)} kg of {spans.before_title}"
    )
    because = [
        f"{writer.kg(grams, is_change=True)} kg by {EFFECTS[name][1 if grams > 0 else 2]}"
        for name, grams in sorted(asdict(effects).items(), key=lambda item: -abs(item[1]))
        if writer.shows(grams)
    ]
    return f"{told}; {', '.join(because)}." if because else f"{told}."


def change(writer: Writer) -> Section:
    """What made the difference, each part drawn from where the one above it ended."""
    part, effects = writer.part, writer.part.effects
    if part.before is None or effects is None:
        return Section("What changed, and why", ("There is nothing to compare with.",))
    old, new = part.before.emissions_gco2e or 0.0, part.now.emissions_gco2e or 0.0
    steps = {name: grams for name, grams in asdict(effects).items() if name != "pricing_gco2e" or grams}
    edges = list(accumulate(steps.values(), initial=old))
    whole = max(*edges, new) or 1.0
    rows: list[Row] = [(writer.figures.spans.before_title, writer.kg(old), "", Bar(0, old / whole))]
    for (name, grams), start, end in zip(steps.items(), edges, edges[1:], strict=False):
        label, more, less = EFFECTS[name]
        step = f"{label}: {more if grams > 0 else less}" if writer.shows(grams) else label
        bar = Bar(min(start, end) / whole, max(start, end) / whole, "more" if grams > 0 else "less")
        rows.append((step, writer.kg(grams, is_change=True), signed_percent(ratio_of(grams, old)), bar))
    total: Row = (
        writer.figures.spans.title, writer.kg(new), signed_percent(ratio_of(new - old, old)), Bar(0, new / whole),
    )  # fmt: skip
    numbers = [Column(text, is_number=True) for text in ("kg CO₂e", "of before")]
    columns = (Column("step"), *numbers, Column(""))
    caption = "From the period before to this one"
    return Section(
        "What changed, and why", (EXACT,), tables=(Table(caption, columns, tuple(rows), total, writer.note()),)
    )


def causes(writer: Writer) -> Section:
    """Who caused it: clusters, kinds, teams, namespaces; each table holds everything."""
    part = writer.part
    tables = [
        writer.table("By cluster", ("cluster",), part.clusters, lambda line: (line.cluster or UNKNOWN,)),
        writer.table("By what used it", ("kind",), part.kinds, lambda line: (LABEL_OF_KIND[line.kind or ""],)),
    ]
    if part.teams:
        tables.append(writer.table("By team", ("team",), part.teams, lambda line: (line.team or UNKNOWN,)))
    tables.append(
        writer.table(
            "By namespace, for charging back; (system) and (idle) are nobody's",
            ("namespace", "cluster"),
            part.namespaces,
            lambda line: (line.namespace or UNKNOWN, line.cluster or UNKNOWN),
        )
    )
    return Section("Who caused it", tables=tuple(tables))


def workloads(writer: Writer) -> Section:
    """The workloads that stand out."""

    def names(line: Line) -> tuple[str, ...]:
        kind = f" ({line.workload_kind})" if line.workload_kind else ""
        return (f"{line.workload or UNKNOWN}{kind}", line.namespace or UNKNOWN, line.cluster or UNKNOWN)

    heads = ("workload", "namespace", "cluster")
    found = {"Workloads with most emissions": writer.part.largest, "Workloads that changed most": writer.part.movers}
    tables = [writer.table(caption, heads, lines, names, is_whole=False) for caption, lines in found.items() if lines]
    return Section("Workloads that stand out", tables=tuple(tables))
