"""How far back raw samples reach."""

from collections.abc import Sequence

from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import Matcher, selector
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE

LOOK_BACK_DAYS = 30
MS_PER_DAY = 24 * MS_PER_HOUR


def oldest_sample_ms(server: PrometheusServer, metric: str, matchers: Sequence[Matcher], now_ms: int) -> int | None:
    """Stamp of about the oldest sample of `metric` (to the minute), None if there is none in the last 30 days.

    Asked month by month back in time, until a whole month is empty, and then minute by minute.
    """
    moments = f"min(timestamp({selector(metric, *matchers)}))"

    def oldest(span: str, step: str, at_ms: int) -> int | None:
        answer = server.vector(f"min_over_time({moments}[{span}:{step}])", at_ms)
        return round(answer[0][1] * 1000) if answer else None

    found, at_ms = None, now_ms
    while (older := oldest(f"{LOOK_BACK_DAYS}d", "1h", at_ms)) is not None:
        found, at_ms = older, at_ms - LOOK_BACK_DAYS * MS_PER_DAY
    if found is None:
        return oldest("2h", "1m", now_ms)
    return oldest("70m", "1m", found + MS_PER_MINUTE) or found
