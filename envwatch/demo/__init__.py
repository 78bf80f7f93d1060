"""The demo: a simulated fleet behind a real HTTP server on loopback.

Standard library only. Of the rest of envwatch, which sees it as it sees any other server, it knows only what the API
means (`model/listing_api.py`).
"""
