"""Command modules, each with `add_arguments` and `run`."""
