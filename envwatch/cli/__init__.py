"""The command line: arguments, wiring, standard streams, exit codes, and one module per command in `commands`.

The only package that may import all others. It imports them late, so that each command loads only what it uses.
"""
