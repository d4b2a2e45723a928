"""Scaphandre 0.5 and 1.x: registers of sockets and memory, power of processes.

The host counter is never energy: it sums registers that wrap one by one, so it falls at each wrap and nothing tells by
how much. Guests that run a Scaphandre of their own (`--vm`) show about a fifth of their energy, and it is the host's
energy already: give them another selector. Labels and traps: the energy sensors' sheet, section 3.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline.samples import Block, Floats, Int64s, Samples, ScaphandreSamples, Transport
from pipeline.sources.prometheus.selectors import Matcher, selector

NAME = "scaphandre"
SOCKETS = "scaph_socket_energy_microjoules"
DOMAINS = "scaph_domain_energy_microjoules"
HOST = "scaph_host_energy_microjoules"
PROCESSES = "scaph_process_power_consumption_microwatts"
BUSY = "scaph_process_cpu_usage_percentage"
VERSION = "scaph_self_version"
CONTAINERS = "kube_pod_container_info"
MICRO, PERCENT = 1e6, 100.0
RANGES_JOULES = {  # max_energy_range_uj as Intel and AMD processors report it; Scaphandre never reads it
    "package": (65_532.610987, 262_143.328850),
    "dram": (65_712.999613, 262_143.328850),
    "psys": (65_532.610987, 262_143.328850),
}

HOST_IDENTITY = pa.schema([("host", pa.string())])
REGISTER_IDENTITY = pa.schema([("host", pa.string()), ("component", pa.string()), ("register", pa.string())])
PROCESS_IDENTITY = pa.schema(
    [(name, pa.string()) for name in ("host", "pid", "exe", "cmdline", "container_id", "guest", "node")]
)
POD_IDENTITY = pa.schema([(name, pa.string()) for name in ("container_id", "pod_uid", "namespace", "pod")])
POD_NAMES = pa.schema([("namespace", pa.string()), ("pod", pa.string())])
NO_NAMES = pa.schema([])

Labels = dict[str, str]
Key = tuple[str | None, ...]


def read(
    transport: Transport, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, processes: bool = True
) -> ScaphandreSamples:
    """All of Scaphandre's samples with `start_ms <= stamp <= end_ms` that energy needs.

    Without `processes` those of hosts alone: who used the energy, and what a node is called, is then unknown.

    Raises:
        SourceError: as the transport.
    """

    def blocks(metric: str, *more: Matcher) -> Iterable[Block]:
        return transport.blocks(selector(metric, *more, *matchers), start_ms, end_ms)

    def of_processes(metric: str) -> Iterable[Block]:
        return blocks(metric) if processes else ()

    registers = [
        _understand(blocks(SOCKETS), REGISTER_IDENTITY, _socket, NO_NAMES, MICRO),
        _understand(blocks(DOMAINS, Matcher("domain_name", "=", "dram")), REGISTER_IDENTITY, _dram, NO_NAMES, MICRO),
        _understand(blocks(HOST, Matcher("value_source", "=~", ".*psys.*")), REGISTER_IDENTITY, _psys, NO_NAMES, MICRO),
    ]
    return ScaphandreSamples(
        meter=NAME,
        registers=_joined(registers, REGISTER_IDENTITY),
        totals=_understand(
            blocks(HOST, Matcher("value_source", "!~", ".*psys.*")), HOST_IDENTITY, _host, NO_NAMES, MICRO
        ),
        processes=_understand(of_processes(PROCESSES), PROCESS_IDENTITY, _process, POD_NAMES, MICRO),
        busy=_summed(of_processes(BUSY)),
        versions=_understand(blocks(VERSION), HOST_IDENTITY, _host, NO_NAMES, 1.0),
        pods=_understand(of_processes(CONTAINERS), POD_IDENTITY, _pod, NO_NAMES, 1.0),
        ranges_joules=RANGES_JOULES,
    )


def host_of(labels: Labels) -> str:
    """The scraped address without its port: all that registers carry. A node's name is known by its pods' processes."""
    return labels.get("instance", "").rsplit(":", 1)[0]


def _host(labels: Labels) -> Key:
    return (host_of(labels),)


def _socket(labels: Labels) -> Key:
    return (host_of(labels), "package", labels.get("socket_id", ""))


def _dram(labels: Labels) -> Key:
    return (host_of(labels), "dram", f"{labels.get('socket_id', '')}/{labels.get('domain_id', '')}")


def _psys(labels: Labels) -> Key:
    return (host_of(labels), "psys", "")


def _process(labels: Labels) -> Key:
    told = ("pid", "exe", "cmdline", "container_id", "vmname", "kubernetes_node_name")
    return (host_of(labels), *(labels.get(name) or None for name in told))


def _pod(labels: Labels) -> Key:
    """kube-state-metrics writes `containerd://<id>` where Scaphandre writes the id."""
    bare = labels.get("container_id", "").rpartition("//")[2]
    return (bare or None, *(labels.get(name) or None for name in ("uid", "namespace", "pod")))


def _names(labels: Labels) -> Key:
    return (labels.get("kubernetes_pod_namespace") or None, labels.get("kubernetes_pod_name") or None)


def _understand(
    blocks: Iterable[Block], identity: pa.Schema, identify: Callable[[Labels], Key], names: pa.Schema, per_unit: float
) -> Samples:
    """Number identities and names over all blocks; values are divided by `per_unit`."""
    codes: dict[Key, int] = {}
    name_codes: dict[Key, int] = {}
    parts: list[tuple[Int64s, Int64s, Int64s, Floats]] = []
    for block in blocks:
        lengths = np.diff(block.offsets)
        rows = list(_labels(block))
        code = [codes.setdefault(identify(row), len(codes)) for row in rows]
        name = [name_codes.setdefault(_names(row) if len(names) else (), len(name_codes)) for row in rows]
        parts.append((
            np.repeat(np.array(code, dtype=np.int64), lengths), np.repeat(np.array(name, dtype=np.int64), lengths),
            block.stamps_ms, block.values / per_unit,
        ))  # fmt: skip
    return Samples(_rows(codes, identity), _rows(name_codes, names), *_columns(parts))


def _summed(blocks: Iterable[Block]) -> Samples:
    """Shares of all processes of a host added up stamp by stamp, block by block, so that no process is kept."""
    codes: dict[Key, int] = {}
    parts: list[tuple[Int64s, Int64s, Int64s, Floats]] = []
    for block in blocks:
        code = np.array([codes.setdefault(_host(row), len(codes)) for row in _labels(block)], dtype=np.int64)
        keys = np.stack((np.repeat(code, np.diff(block.offsets)), block.stamps_ms))
        held, where = np.unique(keys, axis=1, return_inverse=True)
        share = np.bincount(where.ravel(), block.values / PERCENT, minlength=held.shape[1]).astype(np.float64)
        parts.append((held[0], np.zeros(held.shape[1], dtype=np.int64), held[1], share))
    return Samples(_rows(codes, HOST_IDENTITY), _rows({(): 0}, NO_NAMES), *_columns(parts))


def _labels(block: Block) -> Iterator[Labels]:
    return ({k: v for k, v in row.items() if v is not None} for row in block.labels.to_pylist())


def _columns(parts: Sequence[tuple[Int64s, Int64s, Int64s, Floats]]) -> tuple[Int64s, Int64s, Int64s, Floats]:
    code, name, stamps, values = (np.concatenate([part[i] for part in parts] or [np.zeros(0)]) for i in range(4))
    return code.astype(np.int64), name.astype(np.int64), stamps.astype(np.int64), values.astype(np.float64)


def _joined(parts: Sequence[Samples], identity: pa.Schema) -> Samples:
    """Samples of different identities as one."""
    shifts = np.cumsum([0, *(part.identity.num_rows for part in parts)])
    columns = [(p.code + s, np.zeros_like(p.code), p.stamp_ms, p.value) for p, s in zip(parts, shifts, strict=False)]
    table = pa.concat_tables([part.identity for part in parts]).cast(identity)
    return Samples(table, _rows({(): 0}, NO_NAMES), *_columns(columns))


def _rows(codes: dict[Key, int], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([key[i] for key in codes], schema.field(i).type) for i in range(len(schema))]
    return pa.Table.from_arrays(columns, schema=schema)
