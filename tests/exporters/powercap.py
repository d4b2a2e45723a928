"""A made powercap tree whose registers advance at a known, changing power, laid out as the kernel shows real ones."""

import math
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

PACKAGE_RANGE_UJ = 262_143_328_850  # max_energy_range_uj of Intel packages
DRAM_RANGE_UJ = 65_712_999_613  # and of their memory
TICK_SECONDS = 0.01
MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Register:
    """One `energy_uj`: power swings around `watts` by `swing_watts` with a period of `period_seconds`.

    Attributes:
        folder: such as `intel-rapl:0`, or `intel-rapl:0:0` for a domain inside it.
        name: as the kernel names it: `package-0`, `dram`.
        range_uj: the register counts from 0 up to and with this, then starts again.
        start_uj: what it shows at the beginning.
        watts, swing_watts, period_seconds: its power.
        stops_after_seconds: it uses nothing from then on.
    """

    folder: str
    name: str
    range_uj: int
    start_uj: int
    watts: float
    swing_watts: float
    period_seconds: float
    stops_after_seconds: float = math.inf

    def joules(self, seconds: float) -> float:
        """Energy used since the beginning."""
        seconds = min(seconds, self.stops_after_seconds)
        turn = 2 * math.pi / self.period_seconds
        return self.watts * seconds + self.swing_watts / turn * (1 - math.cos(turn * seconds))

    def shows_uj(self, seconds: float) -> int:
        """What the register shows."""
        return (self.start_uj + round(self.joules(seconds) * MICRO)) % (self.range_uj + 1)

    @property
    def is_dram(self) -> bool:
        """Whether this is memory rather than a package."""
        return self.name == "dram"


def register(socket: int, *, dram: bool = False, wraps_after_seconds: float | None = None) -> Register:
    """A socket's register, or that of its memory; each of its own power, so that none can be taken for another.

    Args:
        socket: its number.
        dram: memory rather than the package.
        wraps_after_seconds: when it passes its range, counted from the beginning; None for not soon.
    """
    watts, swing, period = (9.0 + 4 * socket, 3.0, 13.0) if dram else (90.0 - 35 * socket, 30.0, 17.0 + 6 * socket)
    range_uj = DRAM_RANGE_UJ if dram else PACKAGE_RANGE_UJ
    folder = f"intel-rapl:{socket}:0" if dram else f"intel-rapl:{socket}"
    one = Register(folder, "dram" if dram else f"package-{socket}", range_uj, range_uj * 2 // 3, watts, swing, period)
    if wraps_after_seconds is None:
        return one
    return replace(one, start_uj=range_uj - round(one.joules(wraps_after_seconds) * MICRO))


class Powercap:
    """A folder of registers that advance while the context lasts.

    Args:
        folder: where `intel-rapl:*` appear; made.
        registers: which.
    """

    def __init__(self, folder: Path, registers: list[Register]) -> None:
        self.folder, self.registers = folder, registers
        self._began = time.time()
        self._stop = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._feed, name="powercap")

    def __enter__(self) -> Self:
        for one in self.registers:
            place = self.folder / one.folder
            place.mkdir(parents=True)
            (place / "name").write_text(f"{one.name}\n", encoding="utf-8")
            (place / "max_energy_range_uj").write_text(f"{one.range_uj}\n", encoding="utf-8")
        self._began = time.time()
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def joules_between(self, start_ms: int, end_ms: int, *, dram: bool | None = None) -> float:
        """Energy used in `(start, end]`, of packages, of memory, or of both (None)."""
        chosen = [one for one in self.registers if dram is None or one.is_dram is dram]
        return math.fsum(self.joules_of(one, start_ms, end_ms) for one in chosen)

    def joules_of(self, one: Register, start_ms: float, end_ms: float) -> float:
        """Energy that one register counted in `(start, end]`."""
        start, end = (ms / 1_000 - self._began for ms in (start_ms, end_ms))
        return one.joules(end) - one.joules(start)

    def watts_between(self, start_ms: int, end_ms: int) -> float:
        """Mean power of all registers."""
        return self.joules_between(start_ms, end_ms) / (end_ms - start_ms) * 1_000

    def _feed(self) -> None:
        try:
            while not self._stop.wait(TICK_SECONDS):
                self._write()
        except OSError as failure:  # shown where the context ends, not lost in a thread
            self._failure = failure

    def _write(self) -> None:
        for one in self.registers:
            file = self.folder / one.folder / "energy_uj"
            partial = file.with_name("energy_uj.partial")
            partial.write_text(f"{one.shows_uj(time.time() - self._began)}\n", encoding="utf-8")
            partial.rename(file)  # whoever reads sees a whole number
