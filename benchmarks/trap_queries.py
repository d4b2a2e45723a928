"""The rivals of the trap table: one expression a meter and habit, in which PromQL's three ways are filled in.

`RATE` and `T` stand for the function and its range. Who writes recording rules gets their sum over the hour; an
evaluation at each of their steps within it is what such a rule would have stored.
"""

from dataclasses import dataclass

from benchmarks.trap_fleets import SCRAPE_SECONDS

RULE_SECONDS = 60
SECONDS = 3600
WAYS: dict[str, tuple[str, ...]] = {
    "counter": ("`increase[1h]`", "`rate[5m]` x 60 s", "`irate[2m]` x 30 s"),
    "gauge": ("`avg_over_time[1h]` x 3600 s", "`sum_over_time[1h]` x 30 s"),
}


@dataclass(frozen=True, slots=True)
class Query:
    """One way to ask for joules.

    Attributes:
        title: what it is, as the table calls it.
        by: labels that tell whose joules a value is.
        expression: with `RATE` and `T`; of a counter in joules, of a gauge in watts.
        kind: `counter` or `gauge`.
    """

    title: str
    by: tuple[str, ...]
    expression: str
    kind: str = "counter"

    @property
    def promql(self) -> dict[str, str]:
        """What is asked at the end of an hour, by the name of the way."""
        if self.kind == "gauge":
            asked = [
                f"({self._filled('avg_over_time', '1h')}) * {SECONDS}",
                f"({self._filled('sum_over_time', '1h')}) * {SCRAPE_SECONDS}",
            ]
        else:
            asked = [
                self._filled("increase", "1h"),
                self._summed("rate", "5m", RULE_SECONDS),
                self._summed("irate", f"{4 * SCRAPE_SECONDS}s", SCRAPE_SECONDS),
            ]
        return dict(zip(WAYS[self.kind], asked, strict=True))

    def _filled(self, function: str, span: str) -> str:
        return self.expression.replace("RATE(", f"{function}(").replace("[T", f"[{span}")

    def _summed(self, function: str, span: str, step_seconds: int) -> str:
        """Watts at every step of the hour, its right edge included, times the step."""
        inner = self._filled(function, span)
        return f"sum_over_time(({inner})[{SECONDS - step_seconds}s:{step_seconds}s]) * {step_seconds}"


BOTH = 'zone=~"package|dram"'
POD = "kepler_pod_cpu_joules_total"
ACTIVE, IDLE = "kepler_node_cpu_active_joules_total", "kepler_node_cpu_idle_joules_total"
TOTAL = "kepler_container_joules_total"
HOST, SOCKET, DOMAIN = (f"scaph_{part}_energy_microjoules" for part in ("host", "socket", "domain"))
PROCESS = "scaph_process_power_consumption_microwatts"
ENERGY, POWER = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_POWER_USAGE"
OLD = ("container_namespace", "pod_name")
LATE = ("kubernetes_pod_namespace", "kubernetes_pod_name")
HOLDER = ("Hostname", "exported_namespace", "exported_pod")


def _by(*labels: str) -> str:
    return f"sum by ({', '.join(labels)})"


POD_STATES = Query(
    "states as one counter", ("pod_id",), f"{_by('pod_id')} (max without (state) (RATE({POD}{{{BOTH}}}[T])))"
)
POD_SUM = Query("states added", ("pod_id",), f"{_by('pod_id')} (RATE({POD}{{{BOTH}}}[T]))")
POD_ZONES = Query("all zones added", ("pod_id",), f"{_by('pod_id')} (max without (state) (RATE({POD}[T])))")
NODE_SPLIT = Query(
    "active + idle", ("node_name",),
    f"{_by('node_name')} (RATE({ACTIVE}{{{BOTH}}}[T])) + {_by('node_name')} (RATE({IDLE}{{{BOTH}}}[T]))",
)  # fmt: skip
NODE_ZONES = Query(
    "all zones added", ("node_name",),
    f"{_by('node_name')} (RATE({ACTIVE}[T])) + {_by('node_name')} (RATE({IDLE}[T]))",
)  # fmt: skip
NODE_REGISTER = Query(
    "raw register", ("node_name",), f"{_by('node_name')} (RATE(kepler_node_cpu_joules_total{{{BOTH}}}[T]))"
)
OLD_PARTS = Query(
    "package + dram, dynamic", OLD,
    f'{_by(*OLD)} (RATE(kepler_container_package_joules_total{{mode="dynamic"}}[T]))'
    f' + {_by(*OLD)} (RATE(kepler_container_dram_joules_total{{mode="dynamic"}}[T]))',
)  # fmt: skip
OLD_TOTAL = Query("total, dynamic", OLD, f'{_by(*OLD)} (RATE({TOTAL}{{mode="dynamic"}}[T]))')
OLD_MODES = Query("total, both modes (Kepler's own rules)", OLD, f"{_by(*OLD)} (RATE({TOTAL}[T]))")
OLD_ALL = Query(
    "everything that ends in joules_total", OLD,
    f"{_by(*OLD)} (RATE({TOTAL}[T])) + {_by(*OLD)} (RATE(kepler_container_package_joules_total[T]))"
    f" + {_by(*OLD)} (RATE(kepler_container_dram_joules_total[T]))",
)  # fmt: skip
OLD_NAMESPACE = Query(
    "total, dynamic, by `namespace` and `pod`", ("namespace", "pod"),
    f'{_by("namespace", "pod")} (RATE({TOTAL}{{mode="dynamic"}}[T]))',
)  # fmt: skip
OLD_NODE = Query(
    "package + dram, both modes", ("exported_instance",),
    f"{_by('exported_instance')} (RATE(kepler_node_package_joules_total[T]))"
    f" + {_by('exported_instance')} (RATE(kepler_node_dram_joules_total[T]))",
)  # fmt: skip
HOST_SOCKETS = Query(
    "sockets + dram", ("instance",),
    f"({_by('instance')} (RATE({SOCKET}[T]))"
    f' + {_by("instance")} (RATE({DOMAIN}{{domain_name="dram"}}[T]))) / 1e6',
)  # fmt: skip
HOST_COUNTER = Query("host counter", ("instance",), f"{_by('instance')} (RATE({HOST}[T])) / 1e6")
HOST_POWER = Query(
    "host power (Scaphandre's dashboard)", ("instance",),
    f"{_by('instance')} (RATE(scaph_host_power_microwatts[T])) / 1e6", "gauge",
)  # fmt: skip
PROCESS_POWER = Query("process power by pod", LATE, f"{_by(*LATE)} (RATE({PROCESS}[T])) / 1e6", "gauge")
BOARD_ONCE = Query(
    "each board once, then its rate", ("Hostname",),
    f"{_by('Hostname')} (RATE((max by (Hostname, UUID) (last_over_time({ENERGY}[30s])))[T:30s])) / 1000",
)  # fmt: skip
BOARD_SUM = Query("all series added", ("Hostname",), f"{_by('Hostname')} (RATE({ENERGY}[T])) / 1000")
BOARD_POWER = Query("power, all series added", ("Hostname",), f"{_by('Hostname')} (RATE({POWER}[T]))", "gauge")
HELD = f'{ENERGY}{{exported_pod!=""}}'
HOLDER_ALL = Query("by holder, nobody as one of them", HOLDER, f"{_by(*HOLDER)} (RATE({ENERGY}[T])) / 1000")
HOLDER_SUM = Query("by holder", HOLDER, f"{_by(*HOLDER)} (RATE({HELD}[T])) / 1000")
HOLDER_QUARTER = Query(
    "by holder, nobody as one of them, a quarter each", HOLDER, f"{_by(*HOLDER)} (RATE({ENERGY}[T])) / 4 / 1000"
)
HOLDER_THIRD = Query("by holder, a third each", HOLDER, f"{_by(*HOLDER)} (RATE({HELD}[T])) / 3 / 1000")
BOARD_BOUND = Query(
    "each board once, codes for none left out", ("Hostname",),
    f"{_by('Hostname')} (RATE((max by (Hostname, UUID) (last_over_time({ENERGY}[30s]) < 1e14))[T:30s])) / 1000",
)  # fmt: skip
HOLDER_POWER = Query("power by holder", HOLDER, f'{_by(*HOLDER)} (RATE({POWER}{{exported_pod!=""}}[T]))', "gauge")
