"""`envwatch serve`: Letta's API answered from the last complete listing.

Only `app` and `server` know HTTP libraries.
"""
