"""`envwatch serve`: the same API again, answered from the last complete listing.

Owns what is served and to whom. Must not know how listings are fetched, nor who draws them; only `app` and `server`
know HTTP libraries.
"""
