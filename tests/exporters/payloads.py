"""Records what Scaphandre exposes, with nothing of this machine in it: `python -m tests.exporters.payloads EXPORTERS`.

Kept are the host, its sockets and one busy process; names, paths and command lines are replaced by made ones.
"""

import re
import sys
import tempfile
import time
from pathlib import Path

from pipeline.demo.servers import free_port
from tests.exporters.driving import burner
from tests.exporters.powercap import Powercap, register
from tests.exporters.programs import SCAPHANDRE_VERSION
from tests.exporters.scaphandre import GUEST, exporter

PAYLOADS = Path(__file__).parent.parent / "payloads" / "scaphandre"
PACE_SECONDS = 3.0
PID = re.compile(r'pid="(\d+)"')
KEPT = re.compile(r"(# (HELP|TYPE) )?scaph_(host_(energy|power)|socket|domain|process_|self_version)")
MADE = {"exe": "/usr/bin/python3.11", "cmdline": "python3-mapi.server"}


def scrub(body: str, pids: dict[str, str]) -> str:
    """The kept lines of a body; processes other than `pids` (real to made) are left out."""
    lines, after_register = [], False
    for line in body.split("\n"):
        blank, after_register = not line and after_register, bool(re.match(r"scaph_(socket|domain)_energy", line))
        if blank:
            lines.append("")
        if not KEPT.match(line):
            continue
        found = PID.search(line)
        if found and found[1] not in pids:
            continue
        made = line if found is None else line.replace(f'pid="{found[1]}"', f'pid="{pids[found[1]]}"')
        for label, value in MADE.items():
            words = value if label == "exe" else value + ("".join(GUEST) if "vmname" in line else "")
            made = re.sub(rf'\b{label}="[^"]*"', f'{label}="{words}"', made)
        lines.append(made)
    return "\n".join(lines) + "\n"


def main() -> None:
    program = Path(sys.argv[1]).absolute() / "bin" / "scaphandre"
    PAYLOADS.mkdir(parents=True, exist_ok=True)
    registers = [
        register(0, wraps_after_seconds=2.5 * PACE_SECONDS), register(0, dram=True), register(1), register(1, dram=True)
    ]  # fmt: skip
    with (
        tempfile.TemporaryDirectory() as folder,
        Powercap(Path(folder) / "powercap", registers) as powercap,
        burner(*GUEST) as guest,
        burner() as plain,
    ):
        one = exporter(program, powercap, free_port(), Path(folder) / "log", "--qemu")
        with one.running():
            for name in ("first", "second", "before_wrap", "wrap", "after_wrap"):
                body = scrub(one.body(), {str(guest.pid): "2211", str(plain.pid): "2212"})
                (PAYLOADS / f"{SCAPHANDRE_VERSION}_{name}.txt").write_text(body, encoding="utf-8")
                time.sleep(PACE_SECONDS)


if __name__ == "__main__":
    main()
