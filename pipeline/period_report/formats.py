"""The formats of a report, and the file that one is written to."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path

from pipeline.books.export import aside
from pipeline.period_report.composition import document_of
from pipeline.period_report.figures import Figures
from pipeline.period_report.markdown import to_markdown
from pipeline.period_report.page import to_html
from pipeline.period_report.sheet import to_csv
from pipeline.period_report.statements import statements
from pipeline.sinks.partitions import store_errors


def to_json(figures: Figures) -> str:
    """All figures as they are, and the statements about them."""
    told = asdict(figures) | {"statements": [asdict(one) for one in statements(figures)]}
    return json.dumps(told, default=_moment, indent=1, ensure_ascii=False) + "\n"


def _moment(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


FORMATS: dict[str, Callable[[Figures], str]] = {
    "html": lambda figures: to_html(document_of(figures)),
    "md": lambda figures: to_markdown(document_of(figures)),
    "csv": to_csv,
    "json": to_json,
}


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all; one that is there is replaced.

    Raises:
        StoreFull, StoreUnwritable: an earlier file stands.
    """
    with store_errors(path), aside(path) as sink:
        sink.write(text.encode())
