"""Kepler 0.10 and newer: node counters by zone, pod counters by zone and state.

Only zones that do not contain each other are read: package, and dram beside it. Labels and traps: the energy sensors'
sheet, section 1. Target labels (`instance`, `job`, `pod`) say which exporter was scraped, not which workload is meant,
and change when its pod restarts: they are no part of an identity, except that a node without `node_name` is known by
`instance`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.samples import Block, MeterSamples, Samples, Transport
from pipeline.sources.prometheus.selectors import Matcher, selector

NAME = "kepler"
ACTIVE = "kepler_node_cpu_active_joules_total"
IDLE = "kepler_node_cpu_idle_joules_total"
RAW = "kepler_node_cpu_joules_total"
PODS = "kepler_pod_cpu_joules_total"
COMPONENTS = ("package", "dram")
RAPL_RANGES_JOULES = {  # max_energy_range_uj as Intel and AMD processors report it
    "package": (65_532.610987, 262_143.328850),
    "dram": (65_712.999613, 262_143.328850),
}
ZONES = Matcher("zone", "=~", "|".join(COMPONENTS))

NODE_IDENTITY = pa.schema([("node", pa.string()), ("component", pa.string())])
POD_IDENTITY = pa.schema([*NODE_IDENTITY, ("pod_uid", pa.string())])
POD_NAMES = pa.schema([("namespace", pa.string()), ("pod", pa.string())])
NAME_LABELS = {"namespace": "pod_namespace", "pod": "pod_name"}
NO_NAMES = pa.schema([])

Labels = dict[str, str]


def read(transport: Transport, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> MeterSamples:
    """All samples of Kepler's node and pod counters with `start_ms <= stamp <= end_ms`.

    Raises:
        SourceError: as the transport.
    """

    def blocks(metric: str) -> Iterable[Block]:
        return transport.blocks(selector(metric, ZONES, *matchers), start_ms, end_ms)

    return MeterSamples(
        meter=NAME,
        active=_understand(blocks(ACTIVE), NODE_IDENTITY, NO_NAMES),
        idle=_understand(blocks(IDLE), NODE_IDENTITY, NO_NAMES),
        raw=_understand(blocks(RAW), NODE_IDENTITY, NO_NAMES),
        workloads=_understand(blocks(PODS), POD_IDENTITY, POD_NAMES),
        raw_ranges_joules=RAPL_RANGES_JOULES,
    )


def node_of(labels: Labels) -> str:
    """The node a series speaks of: `node_name`, or the host of `instance` where Kepler runs outside Kubernetes."""
    return labels.get("node_name") or labels.get("instance", "").rsplit(":", 1)[0]


def _identity(labels: Labels, columns: Sequence[str]) -> tuple[str | None, ...]:
    pod_uid = labels.get("pod_id") or f"{labels.get('pod_namespace', '')}/{labels.get('pod_name', '')}"
    known = {"node": node_of(labels), "component": labels["zone"], "pod_uid": pod_uid}
    return tuple(known[column] for column in columns)


def _understand(blocks: Iterable[Block], identity: pa.Schema, names: pa.Schema) -> Samples:
    """Number identities and label sets over all blocks, so that a counter's series and parts meet again."""
    codes: dict[tuple[str | None, ...], int] = {}
    name_codes: dict[tuple[str | None, ...], int] = {}
    parts: list[tuple[NDArray[Any], ...]] = []
    for block in blocks:
        lengths = np.diff(block.offsets)
        rows = [{k: v for k, v in row.items() if v is not None} for row in block.labels.to_pylist()]
        code = [codes.setdefault(_identity(row, identity.names), len(codes)) for row in rows]
        name = [
            name_codes.setdefault(tuple(row.get(NAME_LABELS[column]) for column in names.names), len(name_codes))
            for row in rows
        ]
        parts.append((np.repeat(code, lengths), np.repeat(name, lengths), block.stamps_ms, block.values))
    code_, name_, stamps, values = (np.concatenate([p[i] for p in parts] or [np.zeros(0)]) for i in range(4))
    return Samples(
        identity=_rows(codes, identity),
        names=_rows(name_codes, names),
        code=code_.astype(np.int64),
        name=name_.astype(np.int64),
        stamp_ms=stamps.astype(np.int64),
        value=values.astype(np.float64),
    )


def _rows(codes: dict[tuple[str | None, ...], int], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([key[i] for key in codes], schema.field(i).type) for i in range(len(schema))]
    return pa.Table.from_arrays(columns, schema=schema)
