"""The demo: a simulated fleet behind a real HTTP server on loopback.

Standard library only. From envwatch the demo imports only the API's rules and fields (`model/`).
"""
