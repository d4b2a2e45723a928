"""Processes: which programs burn energy hour after hour, whether or not anybody uses them."""

from grafana_foundation_sdk.builders import dashboard, stat, table, timeseries

from dashboards import figures, sections
from dashboards.amounts import (
    HOUR,
    IT_JOULES,
    JOULES_PER_KWH,
    JOULES_PER_WH,
    NODE_JOULES,
    PROCESS_JOULES,
    RANGE,
    Choice,
    each_hour,
    kwh,
)
from dashboards.frame import choose, frame, reach
from dashboards.panels import (
    KILOWATT_HOUR,
    PLAIN,
    RATIO,
    WATT,
    WATT_HOUR,
    Column,
    bars,
    figure,
    listing,
    note,
)

OF = Choice(("node",))
TOP = 50
STEADY_SHARE = 0.9
PROGRAM = "cluster, node, exe"
NAMED = 'exe!="(other)"'
DETAIL = """\
Programs of nodes that Scaphandre accounts for, containers' and the host's alike; other meters name none. They are the
same joules as in the other dashboards, seen from another side, so never added to them. The twenty largest of each
node-hour have a name (500 of a cluster), `(other)` is the rest. Command lines stay in the warehouse.
Ask in the shell of `carbon-etl sql`:

```sql
select exe, cmdline, sum(energy_joules) / 3.6e6 as energy_kwh, count(distinct hour_utc) as hours
  from processes
  where regexp_full_match(cluster, '${cluster:regex}') and regexp_full_match(node, '${node:regex}')
    and hour_utc + interval 59 minutes > '${__from:date:iso}'
    and hour_utc + interval 59 minutes <= '${__to:date:iso}'
  group by all order by energy_kwh desc limit 50;
```
"""


def board() -> dashboard.Dashboard:
    """Energy leaks."""
    variables = choose("cluster", IT_JOULES), choose("node", NODE_JOULES, ("cluster",))
    about = "Programs by the energy they use, and those that use it in every hour."
    made = frame("processes", "Carbon: processes", about, variables)
    for panel in (*(one.span(8) for one in _figures()), *reach(OF)):
        made.with_panel(panel)
    made.with_row(dashboard.Row("Programs")).with_panel(_steady().span(14).height(12))
    made.with_panel(_programs().span(10).height(12)).with_panel(_over_time().span(24))
    made.with_panel(note("Command lines", DETAIL, 10))
    return made


def _hourly() -> str:
    return f"sum by ({PROGRAM}) ({OF.amount(PROCESS_JOULES, HOUR, where=NAMED)}) > 0"


def _steady_hours() -> str:
    """Programs that used energy in at least that share of the published hours, with their number of hours."""
    hours = each_hour("count_over_time", _hourly())
    return f"({hours} >= on (cluster) group_left () {STEADY_SHARE} * {figures.published_hours(OF)})"


def _figures() -> list[stat.Panel]:
    total = f"sum({OF.amount(PROCESS_JOULES, RANGE)})"
    steady = f"sum(sum by ({PROGRAM}) ({OF.amount(PROCESS_JOULES, RANGE, where=NAMED)}) and {_steady_hours()})"
    return [
        figure(
            "Energy of programs", f"{total} / {JOULES_PER_WH}", WATT_HOUR,
            "Sum of carbon_process_energy_joules in the range, (other) included. Not all of what nodes use: idle "
            "energy and what no process explains are not in it.",
        ),
        figure(
            "Steady burners", f"count({_steady_hours()})", PLAIN,
            f"How many (cluster, node, exe) have carbon_process_energy_joules in at least {STEADY_SHARE:.0%} of the "
            "published hours of the range.",
        ),
        figure(
            "Energy of steady burners", f"{steady} / {total}", RATIO,
            "carbon_process_energy_joules of the steady burners / of all programs.",
        ).decimals(1),
    ]  # fmt: skip


def _steady() -> table.Panel:
    steady, hourly = _steady_hours(), _hourly()
    columns = [
        Column("Hours", steady, PLAIN),
        Column("Least power", f"{each_hour('min_over_time', hourly)} / 3600 and {steady}", WATT),
        Column("Mean power", f"{each_hour('avg_over_time', hourly)} / 3600 and {steady}", WATT),
        Column("Energy", f"{kwh(each_hour('sum_over_time', hourly))} and {steady}", KILOWATT_HOUR),
    ]
    about = (
        f"Programs with carbon_process_energy_joules in at least {STEADY_SHARE:.0%} of the published hours: hours, "
        "least and mean joules of an hour / 3600 s, and the sum / 3.6e6. A high least power is drawn whether or not "
        "there is work: look there for leaks."
    )
    return listing("Steady burners, program by program", columns, about, sort_by="Least power")


def _programs() -> table.Panel:
    energy = kwh(f"sum by (cluster, exe) ({OF.amount(PROCESS_JOULES, RANGE)})")
    columns = [
        Column("Energy", f"topk({TOP}, {energy})", KILOWATT_HOUR),
        Column(
            "Nodes",
            f"count by (cluster, exe) (sum by ({PROGRAM}) ({OF.amount(PROCESS_JOULES, RANGE)}) > 0)"
            f" and topk({TOP}, {energy})",
            PLAIN,
        ),
    ]
    about = (
        f"The {TOP} programs with the most carbon_process_energy_joules (/ 3.6e6) over all chosen nodes of a cluster, "
        "and on how many nodes they used any."
    )
    return listing("Programs by energy", columns, about, sort_by="Energy")


def _over_time() -> timeseries.Panel:
    curves = sections.largest(OF, PROCESS_JOULES, "exe", "{{exe}}", JOULES_PER_KWH)
    about = f"Sum of carbon_process_energy_joules / 3.6e6 by program. {sections.OTHERS} {sections.PER_HOUR}"
    return bars("Energy per hour by program", curves, KILOWATT_HOUR, about)
