"""dcgm-exporter: energy and power of whole GPU boards, repeated under the labels of everyone who holds a part of one.

Labels and traps: the energy sensors' sheet, section 4. Energy is exposed in millijoules. Under honorLabels = false the
holder is stored as `exported_pod` and the plain `pod` is the exporter's; a board that nobody holds then shows the
exporter's pod alone, so a plain pod counts as holder only where it is not known to be the exporter's own.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipeline.samples import Block, Bools, Floats, GpuSamples, Int64s, Samples, Transport
from pipeline.sources.prometheus.selectors import Matcher, selector

NAME = "dcgm"
ENERGY = ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "dcgm_total_energy_consumption")  # today's name, and that of 1.x
POWER = ("DCGM_FI_DEV_POWER_USAGE", "dcgm_power_usage")
ACTIVITY = ("DCGM_FI_PROF_GR_ENGINE_ACTIVE",)
TARGETS = "up"
TARGETS_A_QUERY = 50
JOULES_PER_MILLIJOULE = 1e-3

IDENTITY = pa.schema([(name, pa.string()) for name in ("node", "exporter", "board")])
NAMES = pa.schema([(name, pa.string()) for name in ("namespace", "pod", "container", "pod_uid", "instance", "profile")])
EXPORTED = ("exported_namespace", "exported_pod", "exported_container")
PLAIN = (("pod_namespace", "pod_name", "container_name"), ("namespace", "pod", "container"))
EXPORTER_NAME = "dcgm-exporter"

BLANKS = ((2147483632.0, 2147483636.0), (2.0**47, 2.0**47 + 4), (9.2233720368547e18, np.inf))  # int32, double, int64

Labels = dict[str, str]
Target = tuple[str, str]  # job, instance
Key = tuple[str | None, ...]


def read(transport: Transport, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> GpuSamples:
    """All samples of boards' energy, power and activity with `start_ms <= stamp <= end_ms`.

    Raises:
        SourceError: as the transport.
    """

    def blocks(metric: str, *more: Matcher) -> Iterable[Block]:
        return transport.blocks(selector(metric, *more, *matchers), start_ms, end_ms)

    energy, power, activity = ([b for m in metrics for b in blocks(m)] for metrics in (ENERGY, POWER, ACTIVITY))
    unclear = sorted({target_of(row) for block in (*energy, *power) for row in _rows(block) if _is_unclear(row)})
    own: set[tuple[Target, str]] = set()
    for first in range(0, len(unclear), TARGETS_A_QUERY):
        instances = sorted({re.escape(instance) for _, instance in unclear[first : first + TARGETS_A_QUERY]})
        for block in blocks(TARGETS, Matcher("instance", "=~", "|".join(instances))):
            own |= {(target_of(row), row["pod"]) for row in _rows(block) if "pod" in row}
    boards = _Boards(own)
    refused = _Collected()
    return GpuSamples(
        meter=NAME,
        energy=boards.understand(energy, JOULES_PER_MILLIJOULE, refused),
        power=boards.understand(power, 1.0, refused),
        activity=boards.understand(activity, 1.0, None),
        refused=refused.samples(),
    )


def target_of(labels: Labels) -> Target:
    """The scraped exporter."""
    return labels.get("job", ""), labels.get("instance", "")


def is_blank(values: Floats) -> Bools:
    """Which values are DCGM's codes for "none", of any of its types."""
    blank: Bools = np.logical_or.reduce([(values >= low) & (values < high) for low, high in BLANKS])
    return blank


def _rows(block: Block) -> Iterator[Labels]:
    for row in block.labels.to_pylist():
        yield {name: value for name, value in row.items() if value}


def _is_unclear(labels: Labels) -> bool:
    """Whether only the target's own labels can tell what plain labels and the host's name mean."""
    return not any(name in labels for name in EXPORTED)


@dataclass
class _Collected:
    """Samples while they are collected: identities and names numbered over all blocks."""

    codes: dict[Key, int] = field(default_factory=dict)
    names: dict[Key, int] = field(default_factory=dict)
    parts: list[tuple[Int64s, Int64s, Int64s, Floats]] = field(default_factory=list)

    def add(self, identities: Sequence[Key], names: Sequence[Key], block: Block, kept: Bools, scale: float) -> None:
        """The kept samples of a block, one identity and one name a series."""
        lengths = np.diff(block.offsets)
        code = np.array([self.codes.setdefault(key, len(self.codes)) for key in identities], dtype=np.int64)
        name = np.array([self.names.setdefault(key, len(self.names)) for key in names], dtype=np.int64)
        both = np.repeat(code, lengths)[kept], np.repeat(name, lengths)[kept]
        self.parts.append((*both, block.stamps_ms[kept], block.values[kept] * scale))

    def samples(self) -> Samples:
        """All of them."""
        code, name, stamp, value = (np.concatenate([part[i] for part in self.parts] or [np.zeros(0)]) for i in range(4))
        return Samples(
            identity=_table(self.codes, IDENTITY),
            names=_table(self.names, NAMES),
            code=code.astype(np.int64),
            name=name.astype(np.int64),
            stamp_ms=stamp.astype(np.int64),
            value=value.astype(np.float64),
        )


@dataclass(frozen=True)
class _Boards:
    """What labels mean, given the pods that scraped targets themselves are: (target, pod)."""

    own: set[tuple[Target, str]]

    def understand(self, blocks: Iterable[Block], scale: float, refused: _Collected | None) -> Samples:
        """The samples of one quantity; codes for "none" go to `refused`, unscaled."""
        collected = _Collected()
        for block in blocks:
            rows = list(_rows(block))
            identities, names = [self._identity(row) for row in rows], [self._names(row) for row in rows]
            blank = is_blank(block.values)
            collected.add(identities, names, block, ~blank, scale)
            if refused is not None and blank.any():
                refused.add(identities, names, block, blank, 1.0)
        return collected.samples()

    def _identity(self, labels: Labels) -> Key:
        node = self._node(labels)
        place = labels.get("pci_bus_id") or labels.get("gpu") or labels.get("device", "")
        board = labels.get("UUID") or labels.get("uuid") or f"{node}/{place}"
        return node, "/".join(target_of(labels)), board

    def _node(self, labels: Labels) -> str:
        """The host's name; older installs show the exporter's pod there, whose node the target may know."""
        host = labels.get("Hostname") or labels.get("hostname")
        pods = EXPORTER_NAME in (host or "") or host == labels.get("pod") or self._is_exporter(labels, host)
        if host and not pods:
            return host
        return labels.get("node") or labels.get("instance", "").rsplit(":", 1)[0] or host or ""

    def _names(self, labels: Labels) -> Key:
        namespace, pod, container = self._holder(labels)
        uid = labels.get("exported_pod_uid") or labels.get("pod_uid")
        instance, profile = labels.get("GPU_I_ID"), labels.get("GPU_I_PROFILE")
        return namespace, pod, container, uid if pod else None, instance, profile

    def _holder(self, labels: Labels) -> tuple[str | None, str | None, str | None]:
        """Namespace, pod and container of the holder, all null for nobody."""
        if any(name in labels for name in EXPORTED):
            return _taken(labels, EXPORTED)
        for dialect in PLAIN:
            namespace, pod, container = _taken(labels, dialect)
            exporter = EXPORTER_NAME in f"{pod} {container}" or pod in (labels.get("Hostname"), labels.get("hostname"))
            if pod is not None and not exporter and not self._is_exporter(labels, pod):
                return namespace, pod, container
        return None, None, None

    def _is_exporter(self, labels: Labels, pod: str | None) -> bool:
        return (target_of(labels), pod) in self.own


def _taken(labels: Labels, names: tuple[str, str, str]) -> tuple[str | None, str | None, str | None]:
    namespace, pod, container = (labels.get(name) for name in names)
    return (namespace, pod, container) if pod else (None, None, None)


def _table(keys: Mapping[Key, int], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([key[i] for key in keys], schema.field(i).type) for i in range(len(schema))]
    return pa.Table.from_arrays(columns, schema=schema)
