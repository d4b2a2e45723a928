"""Records what Kepler 0.9.0 exposes: `python -m tests.exporters.legacy_payloads EXPORTERS`, as root.

Registers, node, pod and container ids are made; its own runtime's series (`go_`, `process_`) are left out.
"""

import re
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from pipeline.demo.servers import free_port
from tests.exporters.driving import burner
from tests.exporters.kepler_legacy import REFRESH_SECONDS, Machine
from tests.exporters.kubernetes import Pod, api
from tests.exporters.powercap import register
from tests.exporters.programs import KEPLER_LEGACY_VERSION

PAYLOADS = Path(__file__).parent.parent / "payloads" / "kepler_legacy"
KEPT = re.compile(r"(# (HELP|TYPE) )?kepler_")
KNOWN, UNKNOWN = "4f0c" * 16, "9b21" * 16
LIVES = (("first", "second", "third", "fourth", "fifth"), ("restarted",))


def main() -> None:
    program = Path(sys.argv[1]).absolute() / "bin" / "kepler_legacy"
    PAYLOADS.mkdir(parents=True, exist_ok=True)
    wrapping = register(0, wraps_after_seconds=4.5 * REFRESH_SECONDS)
    registers = [wrapping, register(0, dram=True), register(1), register(1, dram=True)]
    with ExitStack() as stack:
        machine = Machine.of(Path(stack.enter_context(tempfile.TemporaryDirectory())), registers)
        stack.enter_context(machine.powercap)
        machine.contain({KNOWN: stack.enter_context(burner()), UNKNOWN: stack.enter_context(burner())})
        address = stack.enter_context(api([Pod("shop", "web-1", "api", KNOWN)]))
        one = machine.exporter(program, free_port(), api=address)
        for names in LIVES:
            with one.running():
                time.sleep(0.5 * REFRESH_SECONDS)
                for name in names:
                    time.sleep(REFRESH_SECONDS)
                    kept = [line for line in one.body().splitlines() if KEPT.match(line)]
                    (PAYLOADS / f"{KEPLER_LEGACY_VERSION}_{name}.txt").write_text("\n".join(kept) + "\n", "utf-8")


if __name__ == "__main__":
    main()
