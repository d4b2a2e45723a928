"""How old a sample a store takes and keeps, read from what the store says about itself."""

import math
import re
from datetime import timedelta
from typing import NamedTuple

from pipeline.window import HOUR

DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w|y)")
DURATION_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}
WINDOW_SETTING = re.compile(r"^\s*out_of_order_time_window:\s*(\S+)\s*$", re.MULTILINE)
DAY = timedelta(days=1)


class Horizon(NamedTuple):
    """How old a sample may be, where that is known from, what would widen it, and how long a block is kept."""

    length: timedelta
    explanation: str
    advice: str
    kept: timedelta | None = None  # null where the store does not say


def duration(text: str) -> timedelta | None:
    """A Prometheus or Go duration such as `15d`, `1m0s`, `2w`; null where it is something else."""
    parts = DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return timedelta(seconds=math.fsum(float(number) * DURATION_SECONDS[unit] for number, unit in parts))


def of_prometheus(retention: str, config_yaml: str) -> Horizon:
    """The horizon of a Prometheus.

    Args:
        retention: `storageRetention` of its runtimeinfo, such as `15d`, `15d or 10GiB` or `10GiB`.
        config_yaml: its configuration as /api/v1/status/config shows it.
    """
    kept = duration(retention.split(" or ", maxsplit=1)[0])
    setting = WINDOW_SETTING.search(config_yaml)
    window = (duration(setting[1]) if setting else None) or timedelta(0)
    # A sample past retention is accepted and vanishes within seconds: a day less keeps away from that edge.
    lasts = None if kept is None else max(kept - DAY, timedelta(0))
    length = (window or HOUR) if lasts is None else min(window or HOUR, lasts)
    explanation = (
        f"Prometheus: out-of-order window {setting[1] if setting and window else 'none, so 1 h'}, "
        f"retention {retention or 'unknown'}{' less 1 day' if kept is not None else ''}"
    )
    advice = "set storage.tsdb.out_of_order_time_window and --storage.tsdb.retention.time"
    return Horizon(length, explanation, advice, lasts)


def of_victoria(retention: str) -> Horizon:
    """The horizon of a VictoriaMetrics from its flag `retentionPeriod`, a bare number being months of 31 days."""
    bare = re.fullmatch(r"\d+(\.\d+)?", retention) is not None
    kept = timedelta(days=31 * float(retention)) if bare else duration(retention)
    if kept is None:
        return Horizon(HOUR, f"VictoriaMetrics: retentionPeriod {retention!r} is not understood, so 1 h", "")
    explanation = f"VictoriaMetrics: retention {retention}{' months' if bare else ''}"
    return Horizon(kept, explanation, "start it with a longer -retentionPeriod", kept)
