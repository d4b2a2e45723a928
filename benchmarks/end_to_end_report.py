"""The page of the end-to-end measurements: goals, one table a span, and how exact the joules are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pandas as pd

from benchmarks.accuracy_report import table
from benchmarks.page import Goal
from benchmarks.stopwatch import Cost
from pipeline.units import MS_PER_SECOND
from pipeline.window import HOUR, Window

FOLD, FAST, QUERY = "extract and fold", "extract and fold, `fast`", "extract and fold by the query API"
PRODUCT, PRODUCT_FAST = "carbon-etl backfill", "carbon-etl backfill, `fast`"
CURL, INCREASE = "curl of the same samples", "curl of `increase()`"
RULES, SCRIPT = "promtool, recording rule", "prometheus-api-client + pandas, script"
LIBRARY = "prometheus-api-client + pandas, samples only"
KEY = ["hour_ms", "node", "component", "pod_uid"]
WRONG = 0.1


@dataclass(frozen=True, slots=True)
class Result:
    """One way's medians; `scaled` is how many hours one measured hour stands for."""

    cost: Cost
    server_cpu_seconds: float
    scaled: int = 1

    @property
    def seconds(self) -> float:
        """On the wall."""
        return self.cost.seconds


def goals(results: Mapping[str, Mapping[str, Result]], series: int) -> list[Goal]:
    """What was promised of these ways, for those that were measured."""
    hour, day, large = (results[title] for title in (f"1 h x {series // 4:,}", f"24 h x {series // 4:,}",
                                                     f"24 h x {series:,}"))  # fmt: skip
    library = hour[LIBRARY].seconds
    of_day = library * 24 * 4  # per sample the same, as much as the library could get
    kept = []
    for way, name, small_rate, small_curl, rate, curl in (
        (FOLD, "", 12, 1.5, 50, 1.7), (FAST, ", with `fast`", 25, 1.3, 60, 1.15)
    ):  # fmt: skip
        if way not in hour:
            continue
        fold, whole = hour[way].seconds, large[way].seconds
        kept += [
            Goal(f"extract and fold 1 h x {series // 4:,}{name}: faster than the library", small_rate, library / fold),
            Goal(f"... of the time of curl{name}", small_curl, fold / hour[CURL].seconds, at_most=True),
            Goal(f"extract and fold 24 h x {series:,}{name}: faster than the library per sample", rate, of_day / whole),
            Goal(f"... of the time of curl{name}", curl, whole / large[CURL].seconds, at_most=True),
            Goal(f"... of the time of `increase()`{name}", 0.8, whole / large[INCREASE].seconds, at_most=True),
        ]
        if way == FOLD:
            kept.append(Goal("... peak memory", 350, large[way].cost.peak_mb, at_most=True, unit="MB"))
    product = day[PRODUCT].seconds
    kept += [
        Goal(f"carbon-etl backfill 24 h x {series // 4:,}: faster than the rule", 4, day[RULES].seconds / product),
        Goal("... than the script", 40, day[SCRIPT].seconds / product, note="the script measured over 1 h, x 24"),
        Goal("extract and fold 1 h by the query API: faster than the library", 8, library / hour[QUERY].seconds),
    ]
    return kept


def parts(results: Mapping[str, Mapping[str, Result]]) -> Iterator[str]:
    """One table a span; ratios first."""
    for title, found in results.items():
        yield f"## {title} series"
        yield "The first two columns: this way's time over that of the fold and of the whole product (default install)."
        fold = found[FOLD].seconds
        product = found[PRODUCT].seconds if PRODUCT in found else None
        head = ["way", "/ fold", "/ product", "seconds", "CPU s", "of the server", "peak MB"]
        yield from table(head, [_cells(way, one, fold, product) for way, one in found.items()])
    yield (
        "A fold's seconds run from its first request to its last row; all others are whole processes, from start to "
        "end. The script and the library are counted without their imports, too. Where a way's time is marked x 24, "
        "one hour was measured. Curl throws away what it gets. The fold reads ten minutes beyond both edges, and so "
        "does its curl. What comes out differs: the product's rows are priced, reconciled with the node, owned and "
        "revised; the rule's are grams in blocks for Prometheus, without any joules."
    )


def _cells(way: str, one: Result, fold: float, product: float | None) -> list[str]:
    scaled = f" (x {one.scaled})" if one.scaled > 1 else ""
    return [
        way, f"{one.seconds / fold:.2f}", "" if product is None else f"{one.seconds / product:.2f}",
        f"{one.seconds:.2f}{scaled}", f"{one.cost.cpu_seconds:.2f}{scaled}",
        "" if one.scaled > 1 else f"{one.server_cpu_seconds:.2f}", f"{one.cost.peak_mb:.0f}",
    ]  # fmt: skip


def errors(
    rows: Path, truth: Mapping[tuple[int, str, str, str], float], url: str, window: Window, selector: str
) -> str:
    """How far the fold and `increase()` are from the simulated joules, pod-hour by pod-hour.

    Args:
        rows: what a fold wrote.
        truth: by hour, node, zone and pod.
        url: of the server, to be asked for `increase()`.
        window: the hours.
        selector: of the pods' counters.
    """
    true = pd.DataFrame([(*key, joules) for key, joules in truth.items()], columns=[*KEY, "truth"])
    true = true[true["hour_ms"].between(window.start_ms, window.end_ms - 1)]
    ours = pd.read_parquet(rows)
    ours["hour_ms"] = ours.pop("hour_utc").astype("int64") // 1000
    found = true.merge(ours, how="left", on=KEY).merge(_increase(url, window, selector), how="left", on=KEY)
    lines = []
    for name, column in (("carbon-etl", "energy_joules"), ("`increase()`", "increase")):
        off = (found[column].fillna(0.0) / found["truth"] - 1).abs()
        total = found[column].sum() / found["truth"].sum() - 1
        lines.append([
            name, f"{off.median():.1e}", f"{off.quantile(0.9):.1e}", f"{off.quantile(0.99):.1e}",
            f"{(off > WRONG).mean():.2%}", f"{found[column].isna().sum():,}", f"{total:+.4%}",
        ])  # fmt: skip
    head = [
        "",
        "median",
        "90th percentile",
        "99th percentile",
        f"share over {WRONG:.0%} wrong",
        "missing",
        "of all joules",
    ]
    told = (
        f"## How exact\n\nRelative error of {len(found):,} pod-hours and zones ({window}) against the simulated "
        "joules; those contain what no sample shows: tails after a last scrape, and what restarts of Kepler hide."
    )
    return "\n\n".join([told, *table(head, lines)])


def _increase(url: str, window: Window, selector: str) -> pd.DataFrame:
    query: dict[str, str | float] = {
        "query": f"increase({selector}[1h])",
        "step": "1h",
        "start": (window.start + HOUR).timestamp(),
        "end": window.end.timestamp(),
    }
    with httpx.Client(trust_env=False, timeout=600) as client:
        answer = client.get(f"{url}/api/v1/query_range", params=query).json()["data"]["result"]
    told = [
        (int((end - 3600) * MS_PER_SECOND), one["metric"]["node_name"], one["metric"]["zone"], one["metric"]["pod_id"],
         np.float64(value))
        for one in answer
        for end, value in one["values"]
    ]  # fmt: skip
    return pd.DataFrame(told, columns=[*KEY, "increase"])
