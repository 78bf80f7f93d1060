"""One module a command.

Each gets the parsed options and returns the exit code.
"""
