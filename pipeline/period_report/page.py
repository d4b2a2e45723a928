"""A report as one page of HTML: no script, nothing loaded from anywhere, and names of others are text only."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.errors import visible
from pipeline.period_report import drawing
from pipeline.period_report.document import Bar, Document

TEMPLATES = Path(__file__).parent / "templates"


def to_html(document: Document) -> str:
    """The page of a document."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"draw": drawing.draw, "shown": visible}
    environment.tests["bar"] = lambda cell: isinstance(cell, Bar)
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    digest = b64encode(sha256(style.encode()).digest()).decode()  # the one style that the page's own policy lets in
    return environment.get_template("report.html").render(
        document=document,
        style=Markup(style),  # noqa: S704 # of this package
        style_digest=digest,
        field=drawing,
    )
