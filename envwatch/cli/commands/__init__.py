"""One module per command, with `add_arguments` and `run`, which returns the exit code.

Must not know each other, except that `demo` runs the dashboard.
"""
