"""Dashboards for somebody's Grafana: as files that it loads at its start, or by its API."""
