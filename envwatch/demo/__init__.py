"""The embedded demo: a simulated fleet behind a real HTTP server on loopback, standard library only."""
