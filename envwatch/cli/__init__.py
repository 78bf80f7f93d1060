"""The command line: arguments, wiring, output streams, and one module per command in `commands`.

The only package that may import all others; it imports them late, so that each command loads only what it uses.
"""
