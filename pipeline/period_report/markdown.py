"""A report as Markdown: text that mail, wikis and pull requests show as it is meant."""

import re
from collections.abc import Iterator

from pipeline.errors import visible
from pipeline.period_report.document import Bar, Document, Section, Table

MEANT = re.compile(r"([\\`*_{}\[\]<>#|~!&@])")  # what Markdown takes for more than itself, in names of others


def to_markdown(document: Document) -> str:
    """The text of a document; drawings are left out, their numbers are in tables."""
    lines = [f"# {_plain(document.title)}", "", _plain(document.subtitle), ""]
    lines += [f"- {one.tone}: {_plain(one.text)}" for one in document.statements]
    for section in document.sections:
        lines += ["", f"## {_plain(section.heading)}", *_section(section)]
    return "\n".join([*lines, "", _plain(document.footer), ""])


def _section(section: Section) -> Iterator[str]:
    for paragraph in section.paragraphs:
        yield from ("", _plain(paragraph))
    if section.cards:
        yield ""
    for card in section.cards:
        yield f"- {_plain(card.label)}: **{_plain(card.value)} {_plain(card.unit)}** {_plain(card.detail)}".rstrip()
    for table in (*section.tables, *(chart.table for chart in section.charts)):
        yield from ("", f"**{_plain(table.caption)}**", "", *_table(table))
        if table.note:
            yield from ("", _plain(table.note))
    if section.terms:
        yield ""
    for term, meaning in section.terms:
        yield f"- **{_plain(term)}**: {_plain(meaning)}"


def _table(table: Table) -> Iterator[str]:
    rows = (*table.rows, *([table.total] if table.total else []))
    texts = [tuple(cell.text if isinstance(cell, Bar) else cell for cell in row) for row in rows]
    written = [number for number, column in enumerate(table.columns) if column.heading]
    if not rows:
        yield "none"
        return
    columns = [table.columns[number] for number in written]
    yield f"| {' | '.join(_plain(column.heading) for column in columns)} |"
    yield f"|{'|'.join('---:' if column.is_number else '---' for column in columns)}|"
    for row in texts:
        yield f"| {' | '.join(_plain(row[number]) for number in written)} |"


def _plain(text: str) -> str:
    """A text that Markdown shows as it is."""
    return MEANT.sub(r"\\\1", visible(text))
