"""A module for each command; `arguments.CommandModule` is the interface.

Some commands use functions of `dashboard`.
"""
