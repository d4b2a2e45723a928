"""What was taken out as implausible, as quarantine rows and as sums beside those of the node."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipeline.samples import Bools, Floats, Int64s
from pipeline.tables import METHOD_VERSION
from pipeline.transforms.counters import Intervals, StepGrid
from pipeline.transforms.folded import Folded
from pipeline.transforms.owners import Owners
from pipeline.transforms.sheet import IMPLAUSIBLE, WITHHELD, FoldRules
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window, from_ms


def implausible_joules(folded: Folded, by_hour: StepGrid) -> Floats:
    """Joules taken out per (node meter, hour): the meter's own, and those of its consumers."""
    meters = len(folded.meters)
    if folded.implausible is None:
        return np.zeros((meters, by_hour.count))
    used = by_hour.spread(folded.implausible.used, len(folded.consumers))
    joules = by_hour.spread(folded.implausible.metered, meters)
    np.add.at(joules, folded.consumer_meter, used)
    return joules


def implausible_rows(folded: Folded, window: Window, rules: FoldRules, owners: Owners) -> pa.Table:
    """Quarantine rows, schema WITHHELD: one per hour and node meter or consumer, with the evidence of its greatest.

    A consumer's row says who it is as its row in `emissions` would; a node meter's has no kind: it is active and idle.
    """
    if folded.implausible is None:
        return WITHHELD.empty_table()
    by_hour, out, rows = StepGrid(window.start_ms, MS_PER_HOUR, window.hour_count), folded.implausible, []
    for intervals, evidence in ((out.metered, out.metered_evidence), (out.used, out.used_evidence)):
        for code in np.unique(intervals.code).tolist():
            own = np.flatnonzero(intervals.code == code)
            of_code = replace(intervals.where(intervals.code == code), code=np.zeros(len(own), dtype=np.int64))
            joules = by_hour.spread(of_code, 1)[0]
            for hour in np.flatnonzero(by_hour.cover(of_code, 1)[0] > 0).tolist():
                start_ms = window.start_ms + hour * MS_PER_HOUR
                within = _overlapping(intervals, own, start_ms)
                worst = max(within, key=lambda k: (intervals.joules[k], -intervals.start_ms[k]))
                more = f" (and {len(within) - 1} more intervals)" if len(within) > 1 else ""
                meter = code if intervals is out.metered else folded.consumers[code].meter
                node, component = folded.meters[meter]
                row = {
                    "hour_utc": from_ms(start_ms),
                    "cluster": rules.cluster,
                    "node": node,
                    "component": component,
                    "energy_joules": float(joules[hour]),
                    "meter": folded.meter,
                    "check": IMPLAUSIBLE,
                    "evidence": evidence[worst] + more,
                    "method_version": METHOD_VERSION,
                }
                who = {} if intervals is out.metered else _who(folded, code, start_ms + MS_PER_HOUR, owners)
                rows.append(row | who)
    return pa.Table.from_pylist(rows, WITHHELD)


def _overlapping(intervals: Intervals, own: Int64s, start_ms: int) -> list[int]:
    inside: Bools = (intervals.start_ms[own] < start_ms + MS_PER_HOUR) & (intervals.end_ms[own] > start_ms)
    return [int(k) for k in own[inside]]


def _who(folded: Folded, number: int, hour_end_ms: int, owners: Owners) -> dict[str, object]:
    """What is known of a consumer; a guest, and what the meter itself calls system, is no pod."""
    consumer = folded.consumers[number]
    if consumer.workload is not None or consumer.kind == "system":
        workload = consumer.workload or consumer.uid
        return {"kind": consumer.kind, "workload_kind": consumer.workload_kind, "workload": workload}
    namespace, pod = folded.names(hour_end_ms).get(number, (None, None))
    owner = owners.of(consumer.uid, namespace, pod)
    return {
        "kind": consumer.kind,
        "namespace": namespace,
        "pod": pod,
        "pod_uid": consumer.uid,
        "container": consumer.container,
        "workload_kind": owner.workload_kind,
        "workload": owner.workload,
    }
