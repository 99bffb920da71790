"""Grafana's dashboards as tables of title, unit and query; run as a module it writes their JSON."""
