"""What idling nodes used, shared among their workloads, as views of the columns of `emissions`: nothing is restated.

A share is of one (hour, node, component) and goes to the workloads that used energy there; where none did, and in
pruned days, of whose nodes nothing is known any more, the energy stays nobody's. It is a row of its own with kind
`idle`, so that its grams may be unknown where those of its workload are not. Sums are those of `emissions`.
"""

PLACE = "date, hour_utc, cluster, node, component"
WHOSE = ("namespace", "pod", "pod_uid", "container", "workload_kind", "workload", "owner_source")
AMOUNTS = ("energy_joules", "facility_energy_kwh", "emissions_gco2e")
WORKLOAD = "namespace, workload_kind, coalesce(workload, pod)"  # its pods share what it gets
COLUMNS = "* exclude (step_joules, tail_joules)"  # when within the hour, and from which meter's tail, is not shared


def _shared(weight: str) -> str:
    """The rows of `emissions`, those of idle energy in shares.

    Args:
        weight: of a row of a workload among the rows of its place.
    """
    given = ["coalesce(used.namespace, case when ratio is not null then '(unknown)' end) as namespace"]
    given += [f"used.{name} as {name}" for name in WHOSE[1:]]
    given += [f"nobodys.{name} * coalesce(ratio, 1) as {name}" for name in AMOUNTS]
    return f"""
        with weighed as (
            select {PLACE}, {", ".join(WHOSE)}, {weight} as weight
            from emissions where kind = 'workload' and energy_joules > 0 and node is not null
        ), used as (
            select *, weight / sum(weight) over (partition by {PLACE}) as ratio from weighed
        ), nobodys as (select {COLUMNS} from emissions where kind = 'idle')
        select {COLUMNS} from emissions where kind <> 'idle'
        union all by name
        select nobodys.* replace ({", ".join(given)}) from nobodys left join used using ({PLACE})"""


IDLE_VIEWS = {
    "emissions_idle_separate": f"select {COLUMNS} from emissions",
    "emissions_idle_by_energy": _shared("energy_joules"),
    "emissions_idle_even": _shared(f"1 / count(*) over (partition by {PLACE}, {WORKLOAD})"),
}
