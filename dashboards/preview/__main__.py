"""`python -m dashboards.preview`: one PNG a dashboard into docs/preview; fails where a panel has no data."""

import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import httpx
import structlog
import typer

from dashboards.preview.asking import Store
from dashboards.preview.board import Board, PreviewError, boards
from dashboards.preview.interpolation import Choice
from dashboards.preview.intervals import time_range
from dashboards.preview.page import Page, is_empty
from dashboards.preview.site import NOW, filled_store

ROOT = Path(__file__).parents[2]
CHOSEN = {"budget_kg": "300"}  # what a reader would write into a text box; 0 is no budget
QUERY_SECONDS = 120.0
README = """\
# The dashboards, drawn

Each page below is one file of [dashboards/](../../dashboards): every panel's own expression, run on a Prometheus that
the pipeline has filled from two simulated clusters over fifteen days, and drawn in the manner of Grafana by
`make dashboards-preview`. No Grafana took part: the pages show that every panel has data and what it says, not how
every pixel of Grafana will look. The target fails where a panel has no data.

{pages}
"""


class Drawn(NamedTuple):
    """One page: how many panels have data, and which have none or cannot be drawn."""

    board: Board
    panels: int
    size: int
    wrong: list[str]


def main(
    folder: Annotated[Path, typer.Option(help="Where the pages go.")] = ROOT / "docs" / "preview",
    store: Annotated[str, typer.Option(help="A store that is filled already, instead of a new one.")] = "",
    only: Annotated[str, typer.Option(help="Only the dashboard of this file name, without .json.")] = "",
) -> None:
    """Fill a store, ask it every panel's questions, and draw the answers."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    wanted = [board for board in boards(ROOT / "dashboards") if only in ("", board.name)]
    folder.mkdir(parents=True, exist_ok=True)
    if store:
        drawn = [_drawn(board, store, folder) for board in wanted]
    else:
        with tempfile.TemporaryDirectory() as data, filled_store(Path(data)) as address:
            drawn = [_drawn(board, address, folder) for board in wanted]
    for page in drawn:
        typer.echo(f"{folder / page.board.name}.png: {page.panels} panels, {page.size >> 10} KiB")
    if not only:
        pages = (f"## {page.board.title}\n\n![{page.board.title}]({page.board.name}.png)" for page in drawn)
        (folder / "README.md").write_text(README.format(pages="\n\n".join(pages)), encoding="utf-8")
    wrong = [f"{page.board.name}: {line}" for page in drawn for line in page.wrong]
    for line in wrong:
        typer.echo(f"error: {line}", err=True)
    sys.exit(1 if wrong else 0)


def _drawn(board: Board, address: str, folder: Path) -> Drawn:
    """One page, written whatever is wrong with its panels."""
    shown, wrong, count = time_range(board.model["time"], NOW), list[str](), 0
    with httpx.Client(base_url=address, timeout=QUERY_SECONDS, trust_env=False) as client:
        asked = Store(client, shown)
        known = asked.choices(board, CHOSEN)
        page = Page(board, shown, _told(board, known))
        for panel in board.panels():
            if panel.kind == "row":
                page.row(panel)
                continue
            count += 1
            try:
                if panel.kind == "text":
                    page.text(panel, asked.words(panel, known))
                    continue
                frames = asked.frames(panel, known)
                if is_empty(frames):
                    wrong.append(f"{panel.title} has no data")
                page.draw(panel, frames)
            except PreviewError as error:
                wrong.append(f"{panel.title}: {error}")
    return Drawn(board, count, page.write(folder / f"{board.name}.png"), wrong)


def _told(board: Board, known: Mapping[str, Choice]) -> str:
    """The choices of a page in one line."""
    texts = [
        f"{variable.get('label') or variable['name']}: {' + '.join(known[variable['name']].texts)}"
        for variable in board.variables
        if variable["type"] != "datasource"
    ]
    span = f"{board.model['time']['from']} to {board.model['time']['to']} at {NOW:%Y-%m-%d %H:%M} UTC"
    return "    ".join([*texts, span])


if __name__ == "__main__":
    typer.run(main)
