"""How much of a period's time is in its figures, cluster by cluster."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date

from pipeline.period_report import questions
from pipeline.period_report.asked import Asked
from pipeline.period_report.figures import Coverage
from pipeline.period_report.spans import Spans
from pipeline.plan import PRUNED
from pipeline.window import HOUR, Window

WHOLE = ("complete", PRUNED)


def coverage_of(spans: Spans, asked: Asked) -> Iterator[Coverage]:
    """The coverage of each cluster that had begun before the period's end; expected are its hours from then on."""
    states = {(row["cluster"], row["state"]): row for row in asked.rows(questions.HOURS)}
    nodes = {row["cluster"]: row for row in asked.rows(questions.NODE_HOURS)}
    silent = {row["cluster"]: row["node_hours"] for row in asked.rows(questions.SILENT)}
    for row in asked.rows(questions.BEGINNINGS):
        cluster, first = row["cluster"], row["first_utc"]
        if first >= spans.until_utc:
            continue
        of_cluster = {state: told for (name, state), told in states.items() if name == cluster}
        counts = {state: told["hours"] for state, told in of_cluster.items()}
        expected = (spans.until_utc - max(first, spans.start_utc)) // HOUR
        seen = nodes.get(cluster, {})
        yield Coverage(
            cluster=cluster,
            first_utc=first,
            expected_hours=expected,
            complete_hours=sum(counts.get(state, 0) for state in WHOLE),
            partial_hours=counts.get("partial", 0),
            empty_hours=counts.get("empty", 0),
            failed_hours=counts.get("failed", 0),
            missing_hours=expected - sum(counts.values()),
            restated_hours=sum(told["restated"] for told in of_cluster.values()),
            node_hours=seen.get("node_hours", 0),
            hole_node_hours=seen.get("holes", 0),
            silent_node_hours=silent.get(cluster, 0),
            withheld_node_hours=seen.get("withheld", 0),
            implausible_node_hours=seen.get("implausible", 0),
            scaled_node_hours=seen.get("scaled", 0),
            covered_ratio=seen["covered_hours"] / seen["expected_hours"] if seen.get("expected_hours") else None,
        )


def lacking_days(spans: Spans, asked: Asked, coverage: Sequence[Coverage]) -> list[date]:
    """The UTC days of which an hour that some cluster should have is missing or not whole."""
    whole = {(row["cluster"], row["day_utc"]): row["hours"] for row in asked.rows(questions.WHOLE_HOURS)}
    found: set[date] = set()
    for one in coverage:
        expected = Counter(hour.date() for hour in Window(max(one.first_utc, spans.start_utc), spans.until_utc).hours())
        found.update(day for day, hours in expected.items() if whole.get((one.cluster, day), 0) < hours)
    return sorted(found)
