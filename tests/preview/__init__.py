"""The preview of the dashboards: that it reads a dashboard file as Grafana does."""
