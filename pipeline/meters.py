"""Every meter that can be read: where sources and transforms of one meter meet. Adding a meter is adding an entry."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from pipeline.checks import Check
from pipeline.samples import GpuSamples
from pipeline.shares import Extract, by_hours, by_nodes
from pipeline.sources.meters import dcgm, kepler, kepler_gpus, kepler_legacy, scaphandre
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import Matcher
from pipeline.sources.sockets import read_sockets
from pipeline.transforms.energy import fold_counters
from pipeline.transforms.folded import Folded
from pipeline.transforms.gpu_quarantine import quarantine_gpus
from pipeline.transforms.gpus import fold_boards
from pipeline.transforms.kepler_gpus import fold_kepler_boards
from pipeline.transforms.legacy import fold_legacy
from pipeline.transforms.legacy_totals import known_faults
from pipeline.transforms.plausibility import screen, suspects
from pipeline.transforms.processes import PROCESS_ROWS, process_rows
from pipeline.transforms.scaphandre import fold_registers, fold_usage
from pipeline.transforms.scaphandre_faults import find_faults, used_by_programs
from pipeline.transforms.scaphandre_usage import measure
from pipeline.transforms.sheet import WITHHELD
from pipeline.window import Window

NAME_LABEL = "__name__"


class Reading(NamedTuple):
    """One meter's samples and their meaning.

    Attributes:
        samples: what `read` returned.
        folded: their energy, without what no machine can have used.
        refused: quarantine rows of what the fold itself did not believe, given window and cluster.
        processes: detail by program, given window and cluster.
        faults: what the meter is known to get wrong, looked for in these samples.
        boards: energy of GPUs that a meter of processors shows beside them; it is booked apart.
    """

    samples: object
    folded: Folded
    refused: Callable[[Window, str], pa.Table] = lambda _window, _cluster: WITHHELD.empty_table()
    processes: Callable[[Window, str], pa.Table] = lambda _window, _cluster: PROCESS_ROWS.empty_table()
    faults: Callable[[Window], Iterable[Check]] = lambda _window: ()
    boards: Folded | None = None


class Meter(NamedTuple):
    """A meter that can be read.

    Attributes:
        name: as the config and the rows call it.
        title: as people call it.
        signs: metrics of which every node that it reads shows one.
        read: from an extract to energy.
        parts: the extract in parts that can be read and folded one after the other.
    """

    name: str
    title: str
    signs: tuple[str, ...]
    read: Callable[[Extract], Reading]
    parts: Callable[[Extract], Iterator[Extract]] = by_hours


def _kepler(extract: Extract) -> Reading:
    """Kepler 0.10 or newer, whose intervals are held against the sockets of its nodes."""
    samples = kepler.read(*extract.asked, extract.level, processes=extract.processes)
    folded = fold_counters(samples, extract.max_gap_ms, extract.starts)
    return _with_boards(
        Reading(samples, _screened(folded, samples, extract)), kepler_gpus.read(*extract.asked, extract.level), extract
    )


def _screened(folded: Folded, samples: object, extract: Extract) -> Folded:
    """Without what no machine can have used; nodes are asked for their sockets only where these decide."""
    gap_ms = extract.max_gap_ms
    spans = {
        node: (max(start - gap_ms, extract.start_ms), min(end + gap_ms, extract.end_ms))
        for node, (start, end) in suspects(folded, extract.ceilings).items()
    }
    sockets = read_sockets(extract.unshared or extract.transport, extract.matchers, spans)
    return screen(folded, extract.ceilings, sockets, gap_ms, samples)


def _boards(extract: Extract) -> Reading:
    """GPU boards, each held against its own ceiling by the fold: a node's sum says nothing of one board."""
    samples: GpuSamples = dcgm.read(*extract.asked)
    boards = fold_boards(samples, extract.max_gap_ms, extract.ceilings.gpu_watts)
    folded = replace(boards.folded, splits=boards.splits)
    return Reading(samples, folded, lambda window, cluster: quarantine_gpus(boards, window, cluster))


def _old_kepler(extract: Extract) -> Reading:
    """Kepler 0.9 and older, whose releases are known for wrong totals."""
    samples = kepler_legacy.read(*extract.asked)
    folded = _screened(fold_legacy(samples, extract.max_gap_ms, extract.starts), samples, extract)
    reading = Reading(samples, folded, faults=lambda _window: known_faults(samples))
    return _with_boards(reading, kepler_gpus.read_legacy(*extract.asked), extract)


def _with_boards(reading: Reading, counters: kepler_gpus.BoardCounters | None, extract: Extract) -> Reading:
    """Kepler with its GPU boards, where it shows any, each held against its own ceiling as those of any meter."""
    if counters is None:
        return reading
    boards = fold_kepler_boards(*counters, extract.max_gap_ms, extract.ceilings.gpu_watts)
    refused = partial(quarantine_gpus, boards)
    return reading._replace(boards=boards.folded, refused=refused)


def _hosts(extract: Extract) -> Reading:
    """Scaphandre, whose processes are worth keeping and whose known faults are worth looking for."""
    samples = scaphandre.read(*extract.asked, processes=extract.processes)
    if not extract.processes:
        registers = fold_registers(samples, extract.max_gap_ms, extract.ceilings.socket_watts)
        return Reading(samples, _screened(registers, samples, extract))
    usage = measure(samples, extract.max_gap_ms, extract.ceilings.socket_watts)
    programs, used = used_by_programs(usage)
    return Reading(
        samples,
        _screened(fold_usage(usage), samples, extract),
        processes=lambda window, cluster: process_rows(programs, used, window, cluster, scaphandre.NAME),
        faults=lambda window: find_faults(samples, usage, window),
    )


METERS = {
    meter.name: meter
    for meter in (
        Meter(kepler.NAME, "Kepler 0.10 or newer", (kepler.ACTIVE,), _kepler, by_nodes),
        Meter(
            kepler_legacy.NAME,
            "Kepler 0.9 or older",
            (*(kepler_legacy.NODE.format(c) for c in kepler_legacy.COMPONENTS), kepler_legacy.TOTAL),
            _old_kepler,
        ),
        Meter(scaphandre.NAME, "Scaphandre", (scaphandre.SOCKETS, scaphandre.PROCESSES), _hosts),
        Meter(dcgm.NAME, "dcgm-exporter", (*dcgm.ENERGY, *dcgm.POWER), _boards),
    )
}


def meters_on(server: PrometheusServer, start_ms: int, end_ms: int) -> list[Meter]:
    """Meters of which a server has samples with `start_ms <= stamp <= end_ms`.

    Raises:
        SourceError: it does not answer.
    """
    signs = Matcher(NAME_LABEL, "=~", "|".join(sign for meter in METERS.values() for sign in meter.signs))
    series = f"{{{','.join(str(matcher) for matcher in (signs, *server.matchers))}}}"
    span = f"[{end_ms - start_ms + 1}ms]"
    answer = server.vector(f"count by ({NAME_LABEL}) (last_over_time({series}{span}))", end_ms)
    names = {labels.get(NAME_LABEL) for labels, _ in answer}
    return [meter for meter in METERS.values() if names & set(meter.signs)]
