"""`envwatch serve` and metrics: Letta's API from the last complete listing, and series for Prometheus.

Only `server` knows an HTTP library, and only `exposition` the client of Prometheus.
"""
