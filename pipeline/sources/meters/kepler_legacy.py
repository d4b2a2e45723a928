"""Kepler 0.5 to 0.9: node counters by socket and mode, container counters by mode.

Facts: the energy sensors' sheet, section 2. A workload's namespace is `container_namespace`: a `namespace` label on any
of these series is that of Kepler's own pod. Container series do not say on which node they are: they are joined to node
series by the labels of their common scrape target. The `source` label changes with upgrades and the `command` label
(0.5) with the container's command: both are no part of an identity.

The component series are read; `kepler_container_joules_total` (millijoules in 0.7.3, whole joules in 0.7.4 to 0.7.10,
uncore twice up to 0.7.2) only for scrapes that hold no component series of containers.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.samples import Floats, Int64s, LegacySamples, Samples, Transport
from pipeline.sources.prometheus.selectors import Matcher, selector

NAME = "kepler_legacy"
COMPONENTS = ("package", "dram")
OTHER_COMPONENTS = ("gpu", "other")  # also inside the total of a container
NODE = "kepler_node_{}_joules_total"
CONTAINER = "kepler_container_{}_joules_total"
TOTAL = "kepler_container_joules_total"
BUILD = "kepler_exporter_build_info"
DYNAMIC = Matcher("mode", "=", "dynamic")
MODES = Matcher("mode", "=~", "dynamic|idle")
SYSTEM = ("system_processes", "kernel_processes")  # pseudo containers, known by any of their name labels

SOCKET_IDENTITY = pa.schema([(name, pa.string()) for name in ("node", "component", "mode", "socket")])
CONTAINER_IDENTITY = pa.schema([(name, pa.string()) for name in ("node", "component", "container_id")])
TOTAL_IDENTITY = pa.schema([(name, pa.string()) for name in ("node", "container_id")])
VERSION_IDENTITY = pa.schema([(name, pa.string()) for name in ("node", "version")])
POD_NAMES = pa.schema([("namespace", pa.string()), ("pod", pa.string())])
NO_NAMES = pa.schema([])

EXPOSED_LABELS = frozenset({
    "__name__", "package", "index", "mode", "source", "exported_instance", "container_id", "container_name",
    "container_namespace", "pod_name", "command", "version", "revision", "branch", "goversion", "goos", "goarch",
    "os", "arch", "tags",
})  # fmt: skip

Labels = Mapping[str, str]
Key = tuple[str | None, ...]


class Series(NamedTuple):
    """One series, or a part of one; `labels` without the empty ones."""

    labels: Labels
    stamps_ms: Int64s
    values: Floats


class Counted(NamedTuple):
    """Samples of a counter, and what its labels mean."""

    identity: Key
    names: Key
    stamps_ms: Int64s
    values: Floats


def read(transport: Transport, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> LegacySamples:
    """All samples of old Kepler's node and container counters with `start_ms <= stamp <= end_ms`.

    Raises:
        SourceError: as the transport.
    """

    def ask(metric: str, *conditions: Matcher) -> list[Series]:
        return _series(transport, selector(metric, *conditions, *matchers), start_ms, end_ms)

    by_component = {component: ask(NODE.format(component), MODES) for component in COMPONENTS}
    targets = Targets(series.labels for part in by_component.values() for series in part)
    containers = [
        _container(targets, (component,), series)
        for component in COMPONENTS
        for series in ask(CONTAINER.format(component), DYNAMIC)
    ]
    total_series = ask(TOTAL, DYNAMIC) if _unsplit(by_component, containers) else []
    totals = _totals([_container(targets, (), series) for series in total_series], containers)
    if totals:
        by_component |= {component: ask(NODE.format(component), DYNAMIC) for component in OTHER_COMPONENTS}
    sockets = [_socket(component, series) for component, part in by_component.items() for series in part]
    versions = [_version(targets, series) for series in ask(BUILD)]
    return LegacySamples(
        meter=NAME,
        sockets=_number(sockets, SOCKET_IDENTITY, NO_NAMES),
        containers=_number(containers, CONTAINER_IDENTITY, POD_NAMES),
        totals=_number(totals, TOTAL_IDENTITY, POD_NAMES),
        versions=_number(versions, VERSION_IDENTITY, NO_NAMES),
    )


class Targets:
    """Which node each scrape target is, as node series tell it.

    A target is its labels: those that Kepler did not expose itself. Node series expose the node as `instance`, which is
    stored as `exported_instance`, or in place of the target's own where `honor_labels` is set: then the rest must do.
    """

    def __init__(self, node_series: Iterable[Labels]) -> None:
        self._whole: defaultdict[frozenset[tuple[str, str]], set[str]] = defaultdict(set)
        self._rest: defaultdict[frozenset[tuple[str, str]], set[str]] = defaultdict(set)
        for labels in node_series:
            self._whole[_target(labels, EXPOSED_LABELS)].add(node_of(labels))
            if "exported_instance" not in labels:
                self._rest[_target(labels, EXPOSED_LABELS | {"instance"})].add(node_of(labels))

    def node_of(self, labels: Labels) -> str:
        """The node whose exporter gave a series; the exporter's host where no node series, or several, fit."""
        for known, exposed in ((self._whole, EXPOSED_LABELS), (self._rest, EXPOSED_LABELS | {"instance"})):
            nodes = known.get(_target(labels, exposed), set())
            if len(nodes) == 1:
                return next(iter(nodes))
        return _host(labels)


def node_of(labels: Labels) -> str:
    """The node that a node series speaks of."""
    return labels.get("exported_instance") or _host(labels)


def _host(labels: Labels) -> str:
    return labels.get("instance", "").rsplit(":", 1)[0]


def _target(labels: Labels, exposed: frozenset[str]) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in labels.items() if name not in exposed)


def _series(transport: Transport, wanted: str, start_ms: int, end_ms: int) -> list[Series]:
    found = []
    for block in transport.blocks(wanted, start_ms, end_ms):
        for row, labels in enumerate(block.labels.to_pylist()):
            own = slice(block.offsets[row], block.offsets[row + 1])
            known = {name: value for name, value in labels.items() if value}
            found.append(Series(known, block.stamps_ms[own], block.values[own]))
    return found


def _socket(component: str, series: Series) -> Counted:
    labels = series.labels
    socket = labels.get("package") or labels.get("index") or ""
    return Counted((node_of(labels), component, labels["mode"], socket), (), series.stamps_ms, series.values)


def _container(targets: Targets, component: Key, series: Series) -> Counted:
    labels = series.labels
    namespace, pod = labels.get("container_namespace"), labels.get("pod_name")
    called = (labels.get("container_id"), pod, labels.get("container_name"))
    pseudo = next((name for name in called if name in SYSTEM), None)
    unnamed = pseudo is not None and called[0] not in (None, "", *SYSTEM)  # a container of no known pod, or not yet
    container_id = (None if unnamed else pseudo) or called[0] or f"{namespace or ''}/{pod or ''}/{called[2] or ''}"
    identity = (targets.node_of(labels), *component, container_id)
    return Counted(identity, (None, None) if unnamed else (namespace, pod), series.stamps_ms, series.values)


def _version(targets: Targets, series: Series) -> Counted:
    identity = (targets.node_of(series.labels), series.labels.get("version", ""))
    return Counted(identity, (), series.stamps_ms, series.values)


def _stamps_by_node(rows: Iterable[tuple[str | None, Int64s]]) -> dict[str | None, Int64s]:
    parts: defaultdict[str | None, list[Int64s]] = defaultdict(list)
    for node, stamps_ms in rows:
        parts[node].append(stamps_ms)
    return {node: np.unique(np.concatenate(stamps)) for node, stamps in parts.items()}


def _unsplit(by_component: Mapping[str, list[Series]], containers: list[Counted]) -> bool:
    """Whether any node was scraped without component series of containers."""
    scraped = _stamps_by_node((node_of(one.labels), one.stamps_ms) for part in by_component.values() for one in part)
    split = _stamps_by_node((one.identity[0], one.stamps_ms) for one in containers)
    nothing = np.zeros(0, dtype=np.int64)
    return any(len(np.setdiff1d(stamps, split.get(node, nothing))) for node, stamps in scraped.items())


def _totals(totals: list[Counted], containers: list[Counted]) -> list[Counted]:
    """Totals at scrapes of a node that hold no component series of any of its containers."""
    split = _stamps_by_node((one.identity[0], one.stamps_ms) for one in containers)
    nothing = np.zeros(0, dtype=np.int64)
    kept = []
    for one in totals:
        alone = ~np.isin(one.stamps_ms, split.get(one.identity[0], nothing))
        if alone.any():
            kept.append(one._replace(stamps_ms=one.stamps_ms[alone], values=one.values[alone]))
    return kept


def _number(counted: Sequence[Counted], identity: pa.Schema, names: pa.Schema) -> Samples:
    """Identities and label sets numbered, so that a counter's series and parts meet again."""
    codes: dict[Key, int] = {}
    name_codes: dict[Key, int] = {}
    lengths = [len(one.stamps_ms) for one in counted]
    code = [codes.setdefault(one.identity, len(codes)) for one in counted]
    name = [name_codes.setdefault(one.names, len(name_codes)) for one in counted]
    return Samples(
        identity=_rows(codes, identity),
        names=_rows(name_codes, names),
        code=np.repeat(np.array(code, dtype=np.int64), lengths),
        name=np.repeat(np.array(name, dtype=np.int64), lengths),
        stamp_ms=np.concatenate([np.zeros(0, dtype=np.int64), *(one.stamps_ms for one in counted)]),
        value=np.concatenate([np.zeros(0), *(one.values for one in counted)]),
    )


def _rows(codes: Mapping[Key, int], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([key[i] for key in codes], schema.field(i).type) for i in range(len(schema))]
    return pa.Table.from_arrays(columns, schema=schema)
