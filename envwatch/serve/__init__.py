"""Letta's API, acknowledgements of viewers, and Prometheus series, from the last complete listing.

Only `server` imports an HTTP library, and only `exposition` the Prometheus client.
"""
