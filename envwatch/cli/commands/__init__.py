"""One module per command: `add_arguments(parser)`, and `run(options)`, which returns the exit code. See `registry`.

Must not know each other, except that `demo` runs the dashboard.
"""
