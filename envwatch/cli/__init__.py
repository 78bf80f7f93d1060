"""The command line; `commands` has a module for each command.

Only this package may import all packages, late for speed.
"""
