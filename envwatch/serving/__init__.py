"""`envwatch serve`: Letta's API answered from the last complete listing.

Only `server` knows an HTTP library.
"""
