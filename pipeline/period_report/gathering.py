"""Asks the warehouse for the figures of a period."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pipeline import __version__
from pipeline.books.periods import Period
from pipeline.period_report import questions
from pipeline.period_report.asked import Asked
from pipeline.period_report.figures import Closed, Figures, Meter, Price, Provenance, Pue, Quarantined
from pipeline.period_report.hours import coverage_of, lacking_days
from pipeline.period_report.parts import parts_of
from pipeline.period_report.spans import Spans, spans_of
from pipeline.sinks.views import open_views

ONE_THREAD = {"threads": "1"}  # sums then come in one order, so that a report made again is the same


def gather(
    root: Path, period: Period, clusters: Sequence[str] | None, configured: Sequence[str], now: datetime
) -> Figures:
    """The figures of a period and of the one before it.

    Args:
        root: the warehouse.
        period: what is reported; it may be open.
        clusters: whose; None for every cluster that is stored.
        configured: those of which something is expected.
        now: the present.
    """
    with open_views(root, "\n".join(questions.ALL), ONE_THREAD) as connection:
        window = period.window
        shared = {"clusters": None if clusters is None else list(clusters), "start": window.start, "end": window.end}
        asked = Asked(connection, shared | {"until": window.end})
        (newest,) = asked.rows(questions.NEWEST_HOUR)
        spans = spans_of(period, newest["hour_utc"], now)
        asked.parameters |= {"until": spans.until_utc, "edges": spans.edge_days}
        asked.parameters |= {"before_start": spans.before_start_utc, "before_until": spans.before_until_utc}
        asked.put_aside("told", questions.TOLD)
        return _figures(asked, spans, clusters or configured, now)


def _figures(asked: Asked, spans: Spans, expected: Sequence[str], now: datetime) -> Figures:
    prices = tuple(Price(**row) for row in asked.rows(questions.PRICES))
    coverage = tuple(coverage_of(spans, asked))
    (before,) = asked.rows(questions.BEFORE_HOURS)
    found = sorted({price.cluster for price in prices})
    methods = {row["is_now"]: tuple(row["versions"]) for row in asked.rows(questions.METHODS)}
    return Figures(
        carbon_etl_version=__version__,
        made_utc=now,
        spans=spans,
        clusters=tuple(found),
        absent_clusters=tuple(sorted(set(expected) - set(found))),
        is_before_known=False in methods,
        parts=tuple(parts_of(asked)),
        prices=prices,
        pues=tuple(Pue(**row) for row in asked.rows(questions.PUES)),
        coverage=coverage,
        lacking_days=tuple(lacking_days(spans, asked, coverage)),
        before_hours=before["hours"],
        quarantined=tuple(Quarantined(**row) for row in asked.rows(questions.QUARANTINED)),
        meters=tuple(
            Meter(row["meter"], tuple(row["components"]), row["energy_kwh"]) for row in asked.rows(questions.METERS)
        ),
        closed=tuple(Closed(**row) for row in asked.rows(questions.CLOSINGS)),
        provenance=_provenance(asked, methods),
    )


def _provenance(asked: Asked, methods: Mapping[bool, tuple[str, ...]]) -> Provenance:
    (runs,) = asked.rows(questions.RUNS)
    asked.parameters["run_ids"] = runs["run_ids"] or []
    (versions,) = asked.rows(questions.VERSIONS)
    before = sorted(row["intensity_provider"] for row in asked.rows(questions.SOURCES_BEFORE))
    return Provenance(
        method_versions=methods.get(True, ()),
        before_method_versions=methods.get(False, ()),
        before_providers=tuple(before),
        carbon_etl_versions=tuple(versions["versions"] or ()),
        config_digests=tuple(runs["config_digests"] or ()),
        run_ids=tuple(runs["run_ids"] or ()),
        first_priced_utc=runs["first_priced_utc"],
        last_priced_utc=runs["last_priced_utc"],
    )
