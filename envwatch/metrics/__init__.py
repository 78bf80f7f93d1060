"""Metrics for Prometheus: the state of the fleet and of polls, in Prometheus's text formats.

Pure: a monitor, poll counts and a moment give bytes.
"""
