"""The lines of the trap table: which meter, in which trap, held against whose true joules, beside which rival."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import trap_queries as q
from pipeline.demo.fleet import Fleet
from pipeline.transforms.energy import Energy

CPU, GPU = ("package", "dram"), ("gpu",)
NONE = "none"
Named = Callable[[pd.DataFrame], "pd.Series[str]"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a table of joules by hour, node and whose they are, of the truth and of the product.

    Attributes:
        meter: whose fold is asked.
        truth: columns hour_utc, node, who, joules.
        ours: the same, of an hour's energy; nodes as the meter calls them.
    """

    meter: str
    truth: Callable[[Fleet], pd.DataFrame]
    ours: Callable[[Energy], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        meter: heading.
        trap: what is wrong with the samples or the question; `NONE` for the meter's own line.
        fleet: key of `trap_fleets.FLEETS`.
        subject: what is measured.
        query: what the rival asks.
        nodes: positions of the nodes it is about; None for all that carry the meter.
    """

    meter: str
    trap: str
    fleet: str
    subject: Subject
    query: q.Query
    nodes: tuple[int, ...] | None = None


def _uid(frame: pd.DataFrame) -> "pd.Series[str]":
    return frame["pod_uid"]


def _pod(frame: pd.DataFrame) -> "pd.Series[str]":
    return frame["namespace"].fillna("") + "/" + frame["pod"].fillna("")


def _holder(frame: pd.DataFrame) -> "pd.Series[str]":
    return frame["node"] + "/" + _pod(frame)


def _node(frame: pd.DataFrame) -> "pd.Series[str]":
    return frame["node"]


def _summed(table: pa.Table, components: Iterable[str], who: Named, joules: str) -> pd.DataFrame:
    """Joules of the components by hour, node and whose they are."""
    frame = table.to_pandas()
    frame = frame[frame["component"].isin([*components])]
    kept = pd.DataFrame({
        "hour_utc": frame["hour_utc"], "node": frame["node"], "who": who(frame), "joules": frame[joules],
    })  # fmt: skip
    return kept.groupby(["hour_utc", "node", "who"])[["joules"]].sum(min_count=1).reset_index()


def _both(table: pa.Table) -> pa.Table:
    """A truth of two parts as one."""
    frame = table.to_pandas()
    frame["joules"] = frame["active_joules"] + frame["idle_joules"]
    return pa.Table.from_pandas(frame, preserve_index=False)


def _workloads(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.equal(rows["kind"], pa.scalar("workload")))


def _of_pods(meter: str, who: Named) -> Subject:
    return Subject(
        meter,
        lambda fleet: _summed(fleet.truth_pods, CPU, who, "energy_joules"),
        lambda energy: _summed(_workloads(energy.rows), CPU, who, "energy_joules"),
    )


def _of_nodes(meter: str, components: tuple[str, ...]) -> Subject:
    return Subject(
        meter,
        lambda fleet: _summed(_both(fleet.truth_nodes), components, _node, "joules"),
        lambda energy: _summed(energy.nodes, components, _node, "metered_joules"),
    )


def _of_holders(*, nobody: bool) -> Subject:
    """Holders of boards, and what nobody held as one of them or not at all."""

    def truth(fleet: Fleet) -> pd.DataFrame:
        table = _both(fleet.truth_gpu_holders)
        kept = table if nobody else table.filter(pc.is_valid(table["pod"]))
        return _summed(kept.append_column("component", pa.array(["gpu"] * len(kept))), GPU, _holder, "joules")

    def ours(energy: Energy) -> pd.DataFrame:
        return _summed(energy.rows if nobody else _workloads(energy.rows), GPU, _holder, "energy_joules")

    return Subject("dcgm", truth, ours)


PODS, NODES = _of_pods("kepler", _uid), _of_nodes("kepler", CPU)
OLD_PODS, OLD_NODES = _of_pods("kepler_legacy", _pod), _of_nodes("kepler_legacy", CPU)
PROGRAMS, HOSTS = _of_pods("scaphandre", _pod), _of_nodes("scaphandre", CPU)
BOARDS = _of_nodes("dcgm", GPU)
HOLDERS, PARTS = _of_holders(nobody=False), _of_holders(nobody=True)

OUTAGE, GAP = "Prometheus down for 25 minutes", "8 minutes of each hour not scraped"
RESTART = "exporter restarts once an hour"


def _calls(
    meter: str, subject: Subject, rows: Iterable[tuple[str, str, q.Query] | tuple[str, str, q.Query, tuple[int, ...]]]
) -> list[Line]:
    return [Line(meter, trap, fleet, subject, query, *nodes) for trap, fleet, query, *nodes in rows]


LINES = (
    *_calls("Kepler 0.10+: pods", PODS, [
        (NONE, "calm", q.POD_STATES),
        ("short-lived pods", "churn", q.POD_STATES),
        ("running and terminated state added", "churn", q.POD_SUM),
        (RESTART, "restarts", q.POD_STATES),
        ("counters set to 0 in mid-life", "zero_resets", q.POD_STATES),
        ("a name comes late: the counter goes on under other labels", "late_names", q.POD_STATES),
        ("`psys` and `package` added", "zones", q.POD_ZONES),
        ("a counter overflows", "jump", q.POD_STATES),
        (GAP, "gaps", q.POD_STATES),
        (OUTAGE, "outages", q.POD_STATES),
    ]),
    *_calls("Kepler 0.10+: nodes", NODES, [
        (NONE, "calm", q.NODE_SPLIT),
        ("register wraps, one socket", "calm", q.NODE_REGISTER, (0, 2)),
        ("register wraps, two sockets", "calm", q.NODE_REGISTER, (1,)),
        (f"{RESTART}, one socket: idle begins anywhere", "restarts", q.NODE_SPLIT, (0, 2)),
        (f"{RESTART}, two sockets: idle begins anywhere", "restarts", q.NODE_SPLIT, (1,)),
        (f"{RESTART}, two sockets: so does the register", "restarts", q.NODE_REGISTER, (1,)),
        ("`psys` and `package` added", "zones", q.NODE_ZONES),
        (GAP, "gaps", q.NODE_SPLIT),
        (OUTAGE, "outages", q.NODE_SPLIT),
    ]),
    *_calls("Kepler 0.5 to 0.9: containers", OLD_PODS, [
        (NONE, "calm", q.OLD_PARTS),
        ("idle and dynamic added", "calm", q.OLD_MODES),
        ("parts and their total added", "calm", q.OLD_ALL),
        ("`namespace` is that of Kepler's own pod", "calm", q.OLD_NAMESPACE),
        ("short-lived pods", "churn", q.OLD_PARTS),
        (RESTART, "restarts", q.OLD_PARTS),
        ("0.7.3: totals in millijoules", "releases", q.OLD_TOTAL, (0,)),
        ("0.7.3 that does not say so", "releases", q.OLD_TOTAL, (1,)),
        ("0.7.8: totals truncated to joules", "releases", q.OLD_TOTAL, (2,)),
        ("wraps skipped by the exporter", "releases", q.OLD_TOTAL, (3,)),
        (GAP, "gaps", q.OLD_PARTS),
        (OUTAGE, "outages", q.OLD_PARTS),
    ]),
    *_calls("Kepler 0.5 to 0.9: nodes", OLD_NODES, [
        (NONE, "calm", q.OLD_NODE),
        (f"{RESTART}, one socket", "restarts", q.OLD_NODE, (0, 2)),
        (f"{RESTART}, two sockets", "restarts", q.OLD_NODE, (1,)),
        ("wraps skipped by the exporter", "releases", q.OLD_NODE, (3,)),
        (OUTAGE, "outages", q.OLD_NODE),
    ]),
    *_calls("Scaphandre: hosts", HOSTS, [
        (NONE, "calm", q.HOST_SOCKETS),
        ("host counter over wraps, one socket", "calm", q.HOST_COUNTER, (0, 2)),
        ("host counter over wraps, two sockets", "calm", q.HOST_COUNTER, (1,)),
        ("host power, missing where a register wraps", "calm", q.HOST_POWER),
        ("a second scraper freezes half an hour", "scaphandres", q.HOST_SOCKETS, (0,)),
        ("`psys` taken for the host", "zones", q.HOST_COUNTER),
        ("0.5: no memory in the host", "scaphandres", q.HOST_COUNTER, (2,)),
        (GAP, "gaps", q.HOST_SOCKETS),
        (OUTAGE, "outages", q.HOST_SOCKETS),
    ]),
    *_calls("Scaphandre: processes", PROGRAMS, [
        (NONE, "calm", q.PROCESS_POWER, (0, 2)),
        ("no power where a register wraps, two sockets", "calm", q.PROCESS_POWER, (1,)),
        ("short-lived pods", "churn", q.PROCESS_POWER),
        ("a second scraper freezes half an hour", "scaphandres", q.PROCESS_POWER, (0,)),
        ("power 100 times too low (1.0)", "scaphandres", q.PROCESS_POWER, (1,)),
        (GAP, "gaps", q.PROCESS_POWER),
        (OUTAGE, "outages", q.PROCESS_POWER),
    ]),
    *_calls("DCGM: boards", BOARDS, [
        (NONE, "calm", q.BOARD_ONCE),
        ("holders change: nobody's counter spans theirs", "calm", q.BOARD_SUM, (3,)),
        ("MIG repeats the board", "calm", q.BOARD_SUM, (4,)),
        ("time-slicing repeats the board", "calm", q.BOARD_SUM, (5,)),
        ("power of MIG and time-slicing added", "calm", q.BOARD_POWER, (4, 5)),
        ("sentinels", "boards", q.BOARD_ONCE, (0,)),
        ("sentinels, known to the asker", "boards", q.BOARD_BOUND, (0,)),
        ("driver reloads once an hour", "boards", q.BOARD_ONCE, (1,)),
        ("no energy counter: the power gauge", "boards", q.BOARD_POWER, (2,)),
        (GAP, "gaps", q.BOARD_ONCE),
        (OUTAGE, "outages", q.BOARD_ONCE),
    ]),
    *_calls("DCGM: holders of an exclusive board", HOLDERS, [
        (NONE, "calm", q.HOLDER_SUM, (3,)),
        ("no energy counter: the power gauge", "boards", q.HOLDER_POWER, (2,)),
    ]),
    *_calls("DCGM: holders of MIG instances, nobody as one of them", PARTS, [
        (NONE, "calm", q.HOLDER_QUARTER, (4,)),
        ("every holder gets the board", "calm", q.HOLDER_ALL, (4,)),
    ]),
    *_calls("DCGM: holders by time-slicing", HOLDERS, [
        (NONE, "calm", q.HOLDER_THIRD, (5,)),
        ("every holder gets the board", "calm", q.HOLDER_SUM, (5,)),
        ("one of them is named, arbitrarily", "boards", q.HOLDER_SUM, (3,)),
    ]),
)  # fmt: skip
