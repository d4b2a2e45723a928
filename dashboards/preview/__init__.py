"""Every panel of every dashboard, asked of a real store and drawn, so that none is shipped unseen: no Grafana needed.

A development tool (`make dashboards-preview`): it restates what Grafana documents of variables, intervals, reducers,
transformations, units and field options, as far as the dashboards use them, and refuses what it does not know.
"""
