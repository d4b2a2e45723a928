"""A page as headless Chromium shows it: pictures, paper, and what it measures."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COMMON = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr")
FRAMES = """<!doctype html><title>frames</title><body>{frames}<script>
onload = () => {{
  document.body.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument, root = page.documentElement;
    const right = element => element.getBoundingClientRect().right;
    return {{
      width: root.clientWidth, needed: root.scrollWidth, heading: page.querySelector("h1").textContent,
      beyond: [...page.querySelectorAll("main *")].filter(element => !element.closest(".scroll")
        && right(element) > root.clientWidth + 1).map(element => element.tagName),
      tables: [...page.querySelectorAll("table")].filter(table => table.offsetWidth).map(table => table.offsetWidth),
    }};
  }}));
}};
</script>"""


def _run(*options: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "no Chromium on PATH: apt-get install chromium"
    done = subprocess.run([program, *COMMON, *options], capture_output=True, text=True, check=True, timeout=120)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not complaints, complaints
    return done


def picture(page: Path, image: Path, width: int, height: int) -> None:
    """The page's beginning as PNG."""
    _run(f"--window-size={width},{height}", f"--screenshot={image}", page.as_uri())


def paper(page: Path, document: Path) -> None:
    """The page printed to PDF."""
    _run("--no-pdf-header-footer", f"--print-to-pdf={document}", page.as_uri())


def measured(pages: Sequence[tuple[Path, int]], folder: Path) -> list[dict[str, Any]]:
    """What each page needs at a width in pixels: its own width, elements beyond its edge, widths of its tables."""
    frames = "".join(f'<iframe src="{page.as_uri()}" width="{width}" height="800"></iframe>' for page, width in pages)
    wrapper = folder / "frames.html"
    wrapper.write_text(FRAMES.format(frames=frames), encoding="utf-8")
    done = _run("--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom", wrapper.as_uri())
    found = re.search(r"<body>(.*)</body>", done.stdout, re.DOTALL)
    assert found is not None
    told: list[dict[str, Any]] = json.loads(found[1])
    return told
