"""Writes overview.json, the Grafana dashboard that is shipped: `python -m dashboards.build_overview`.

The JSON is committed and a test builds it again, so that it is never edited by hand. Classic schema (41), which Grafana
10.4 to 13 load; no `__inputs`, because file provisioning does not resolve them. The time zone is UTC: a day here is a
day of the warehouse, of its reports and of its `date=` folders; a reader may choose another in the time picker.
"""

import json
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as dashboard_model

from dashboards import sections
from dashboards.amounts import IT_JOULES
from dashboards.panels import DATASOURCE, note

PATH = Path(__file__).with_name("overview.json")

BOUNDARY = (
    "Grams CO2e = metered IT energy x PUE x grid intensity, hour by hour. **Boundary:** CPU and DRAM as metered "
    "(GPU where a meter reports it); not PSU losses, disks, network, fans or embodied carbon. **Basis:** `direct` "
    "is scope 2, location-based; `lifecycle` adds upstream (scope 3.3); see *Basis of the grams*. **Range:** "
    "published hours that end in it; figures are as last published, corrections included."
)


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    everything = dashboard_model.VariableOption(selected=True, text="All", value="$__all")
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"qryType": 5, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .refresh(dashboard_model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard_model.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".+")
        .current(everything)
    )


def overview() -> dict[str, object]:
    """The dashboard as Grafana's classic JSON model."""
    board = (
        dashboard.Dashboard("Carbon emissions")
        .uid("carbon-etl-overview")
        .description("Grams CO2e and energy of Kubernetes workloads as carbon-etl publishes them.")
        .tags(["carbon", "carbon-etl", "energy", "kubernetes"])
        .readonly()
        .tooltip(dashboard_model.DashboardCursorSync.CROSSHAIR)
        .timezone("utc")
        .time("now-7d", "now")
        .refresh("15m")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_variable("cluster", "Cluster", f"label_values({IT_JOULES}, cluster)"))
        .with_variable(
            _variable("namespace", "Namespace", f'label_values({IT_JOULES}{{cluster=~"$cluster"}}, namespace)')
        )
        .with_panel(note("What is counted", BOUNDARY))
    )
    for panel in (*sections.totals(), *sections.trust()):
        board.with_panel(panel)
    for title, add in (
        ("Over time", sections.add_trends),
        ("Where it comes from", sections.add_shares),
        ("Grid and site", sections.add_grid),
        ("Evidence", sections.add_evidence),
    ):
        board.with_row(dashboard.Row(title))
        add(board)
    model: dict[str, object] = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    return _completed(model)


def _completed(model: dict[str, object]) -> dict[str, object]:
    """`model` with what the SDK leaves out: a null id and a number for each panel."""
    panels = model["panels"]
    if not isinstance(panels, list):
        raise TypeError("a dashboard's panels are a list")
    numbered = [panel | {"id": number} for number, panel in enumerate(panels, start=1)]
    return model | {"id": None, "panels": numbered}


def document() -> str:
    """The text of overview.json."""
    return json.dumps(overview(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
