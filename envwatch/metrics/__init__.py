"""Metrics for Prometheus: a monitor, poll counts and a moment give text."""
