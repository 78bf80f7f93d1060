"""The checks of `envwatch doctor`: each check is one function that measures one thing and judges it.

`server` has the checks of the way to a server, `machine` the checks of this machine. `check` runs a list of checks, and
makes text and JSON of their findings.
"""
