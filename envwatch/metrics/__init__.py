"""Metrics for Prometheus: what is known of the fleets, and how the polls went, in its text formats.

Pure: a monitor, the counts of polls and a moment give bytes. Must not know who reads them, or over what.
"""
