"""The command line: arguments, wiring, output streams, and one module a command in `commands`.

The only package that may import all the others. It imports them late, so that each command pays only for
what it uses.
"""
