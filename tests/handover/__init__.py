"""Dashboards handed over to a Grafana."""
