"""The counters that a figure was made from, as they were read: what quarantine rows and `--explain` show."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import TypeAlias

from pipeline.samples import Samples

# (node, component, uid of a consumer or None, stamp in ms) -> the counters read there, as text
Shown: TypeAlias = Callable[[str, str, str | None, int], str]

PLACE_COLUMNS = {"node", "host", "component"}
CONSUMER_COLUMNS = {"pod_uid", "container_id", "pid", "id", "vm_id"}


def counters_of(samples: object) -> dict[str, Samples]:
    """The counters of what a meter's `read` returned, by name; none of what is no dataclass of them."""
    if not is_dataclass(samples):
        return {}
    held = {f.name: getattr(samples, f.name) for f in fields(samples)}
    return {name: part for name, part in held.items() if isinstance(part, Samples)}


def shown_samples(samples: object) -> Shown:
    """How to show what a fold was made from: every counter of a node or of a consumer that has a sample there."""
    counters = counters_of(samples)

    def shown(node: str, component: str, uid: str | None, at_ms: int) -> str:
        text = ", ".join(f"{name} {value:.15g}" for name, value in values_at(counters, node, component, uid, at_ms))
        return f" ({text})" if text else ""

    return shown


def values_at(
    counters: Mapping[str, Samples], node: str, component: str, uid: str | None, at_ms: int
) -> Iterable[tuple[str, float]]:
    """Name and value of each counter of a node's component, or of a consumer of it, at a stamp.

    A counter is named by what was read and by whatever tells it from its like (`sockets dynamic 0`).
    """
    for name, part in counters.items():
        consumers = bool(CONSUMER_COLUMNS & set(part.identity.column_names))
        if consumers is (uid is None):
            continue
        for code, row in enumerate(part.identity.to_pylist()):
            place = (row.get("node") or row.get("host"), row.get("component", component))
            rest = [str(v) for k, v in row.items() if k not in PLACE_COLUMNS and v is not None]
            if place != (node, component) or (uid is not None and uid not in rest):
                continue
            values = part.value[(part.code == code) & (part.stamp_ms == at_ms)]
            if len(values):
                yield " ".join([name, *([] if consumers else rest)]), float(values.max())
