"""The output of commands and hooks: the formats of `list`, the result of `check`, variables, the title of the terminal.

Pure.
"""
