"""Logs, metrics and traces: one shape for every service and job."""
