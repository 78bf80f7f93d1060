"""The demo: a simulated fleet behind a real HTTP server on loopback.

Standard library only. Must not know the rest of envwatch, which sees it as it sees any other server.
"""
