"""The page of extraction: goals, and a table with a line for each span and way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Self

from benchmarks.accuracy_report import table
from benchmarks.page import Goal

REMOTE_READ, FAST, QUERY = "remote_read", "remote_read, `fast`", "query"
LIBRARY, CURL = "prometheus-api-client + pandas", "curl"
READING = """\
Raw samples, 30 s apart, of pods that come and go, read from the first request to the last sample, each time in a
process of its own. Faster than the library: by time per sample; in spans that it was not asked for, against its rate
in the first one. Curl gets the bytes of remote read and does nothing with them. The transports yield arrays of samples
and columns of labels; nothing is folded here: [end_to_end.md](end_to_end.md) does that."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one measurement gave: seconds, peak memory of its process, samples and series (of curl: none)."""

    seconds: float
    peak_mb: float
    samples: int
    series: int

    @classmethod
    def middle(cls, said: Sequence[Self]) -> Self:
        """The medians."""
        seconds, peak_mb = (median(getattr(one, name) for one in said) for name in ("seconds", "peak_mb"))
        return cls(seconds, peak_mb, said[0].samples, said[0].series)

    def figures(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


Results = Sequence[tuple[str, Mapping[str, Said]]]


def goals(results: Results) -> list[Goal]:
    """What was promised of extraction: the first span's against the library, the last one's per sample."""
    (first, hour), (last, day) = results[0], results[-1]
    library = hour[LIBRARY]
    kept = []
    promises = ((REMOTE_READ, "", 12, 1.5, 50, 1.7), (FAST, ", with `fast`", 25, 1.3, 60, 1.15))
    for way, name, small_rate, small_curl, rate, curl in promises:
        if way in hour:
            per_sample = library.seconds / library.samples * day[way].samples / day[way].seconds
            kept += [
                Goal(f"{first}{name}: faster than the library", small_rate, library.seconds / hour[way].seconds),
                Goal(f"... of curl's time{name}", small_curl, hour[way].seconds / hour[CURL].seconds, at_most=True),
                Goal(f"{last}{name}: faster than the library per sample", rate, per_sample),
                Goal(f"... of curl's time{name}", curl, day[way].seconds / day[CURL].seconds, at_most=True),
            ]
    kept.append(Goal(f"{last}: peak memory", 350, day[REMOTE_READ].peak_mb, at_most=True, unit="MB"))
    kept.append(Goal(f"{first}, query API: faster than the library", 8, library.seconds / hour[QUERY].seconds))
    return kept


def part(results: Results) -> list[str]:
    """The table, and how to read it."""
    head = ["span", "way", "times curl", "faster than the library", "M samples/s", "seconds", "peak MB", "samples"]
    return [*table(head, list(_lines(results))), READING]


def _lines(results: Results) -> Iterator[list[str]]:
    first = results[0][1][LIBRARY]
    library_seconds = first.seconds / first.samples
    for title, said in results:
        samples = next(iter(said.values())).samples
        for way, one in said.items():
            rate = "" if way == CURL else f"{samples / one.seconds / 1e6:.2f}"
            ratio = "" if way == CURL else f"{one.seconds / said[CURL].seconds:.2f}"
            faster = "" if way in (CURL, LIBRARY) else f"{library_seconds * samples / one.seconds:.1f}"
            yield [title, way, ratio, faster, rate, f"{one.seconds:.2f}", f"{one.peak_mb:.0f}", f"{samples:,}"]
