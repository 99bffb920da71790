"""Grafana's dashboards as tables of title, unit and query; run as a module it builds their JSON into the chart."""
