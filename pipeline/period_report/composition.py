"""A report put into words: its figures as a document."""

from collections.abc import Iterator
from dataclasses import replace

from pipeline.period_report import amount_sections, day_section, evidence_sections
from pipeline.period_report.document import Document, Section
from pipeline.period_report.figures import Figures
from pipeline.period_report.statements import statements
from pipeline.period_report.wording import joined
from pipeline.period_report.writer import Writer

OF_PARTS = (
    amount_sections.summary,
    amount_sections.change,
    day_section.by_day,
    amount_sections.causes,
    amount_sections.workloads,
)
OF_EVIDENCE = (
    evidence_sections.quality,
    evidence_sections.books,
    evidence_sections.sources,
    evidence_sections.provenance,
)


def document_of(figures: Figures) -> Document:
    """The whole report in words."""
    told = [*_of_parts(figures), *(section(figures) for section in OF_EVIDENCE), evidence_sections.glossary()]
    return Document(
        title=f"Carbon report, {figures.spans.title}",
        subtitle=f"Emissions of computing in {joined(figures.clusters)}, times in UTC" if figures.clusters else "",
        statements=tuple(statements(figures)),
        sections=tuple(told) if figures.parts else (evidence_sections.provenance(figures),),
        footer=f"Made by carbon-etl {figures.carbon_etl_version} on {figures.made_utc:%Y-%m-%d %H:%M} UTC.",
    )


def _of_parts(figures: Figures) -> Iterator[Section]:
    """The sections of each factor type, which say whose they are where there are several."""
    for part in figures.parts:
        for section in OF_PARTS:
            told = section(Writer(figures, part))
            yield told if len(figures.parts) == 1 else replace(told, heading=f"{told.heading}: {part.scope}")
