"""The demo: a simulated fleet behind a real HTTP server on loopback.

Standard library only; from envwatch, only `model/`.
"""
