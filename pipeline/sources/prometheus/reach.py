"""How far back raw samples reach."""

from collections.abc import Sequence

from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import Matcher, selector
from pipeline.units import MS_PER_HOUR

LOOK_BACK_DAYS = 30
MS_PER_DAY = 24 * MS_PER_HOUR


def oldest_sample_ms(server: PrometheusServer, metric: str, matchers: Sequence[Matcher], now_ms: int) -> int | None:
    """Stamp of about the oldest sample of `metric` (to the minute), None if there is none in the last 30 days.

    Asked month by month back in time, until a whole month is empty: which stretch of six hours holds the first sample,
    which ten minutes of it, which minute of those. A question for one stamp after another would have the server look at
    every series again for each step after its end, which takes a hundred times as long.
    """
    series = selector(metric, *matchers)

    def oldest(what: str, span: str, step: str, at_ms: int) -> int | None:
        answer = server.vector(f"min_over_time(({what})[{span}:{step}])", at_ms)
        return round(answer[0][1] * 1000) if answer else None

    def stretch(span: str, length: str, at_ms: int) -> int | None:
        """The end of the first stretch of that length with a sample."""
        return oldest(f"0 * count(last_over_time({series}[{length}])) + time()", span, length, at_ms)

    found, at_ms = None, now_ms
    while (older := stretch(f"{LOOK_BACK_DAYS}d", "6h", at_ms)) is not None:
        found, at_ms = older, at_ms - LOOK_BACK_DAYS * MS_PER_DAY
    known_ms = stretch("370m", "10m", now_ms if found is None else found) or found
    minute_ms = oldest(f"min(timestamp({series}))", "11m", "1m", now_ms if known_ms is None else known_ms)
    return minute_ms or known_ms
