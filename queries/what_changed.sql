-- Which published figures changed afterwards, from what to what, and why?
select
    cluster,
    hour_utc,
    coalesce(namespace, '(' || kind || ')') as namespace,
    component,
    kind,
    revision,
    cause,
    old_energy_joules,
    new_energy_joules,
    old_emissions_gco2e,
    new_emissions_gco2e,
    new_emissions_gco2e - old_emissions_gco2e as difference_gco2e,
    rows_changed,
    written_utc,
    run_id
from revisions
order by written_utc desc, cluster, hour_utc, namespace, component, kind;
