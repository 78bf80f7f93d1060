"""The checks of `envwatch doctor`; each check is a function.

`server` checks the way to a server, `machine` this machine. `check` runs checks and formats findings.
"""
