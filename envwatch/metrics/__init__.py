"""Metrics for Prometheus: the state of the fleet and of its polls, in the text formats of Prometheus.

Pure: a monitor, the counts of polls and a moment give bytes. Must not know who reads them, or over what.
"""
