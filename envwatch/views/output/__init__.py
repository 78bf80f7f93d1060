"""The output of commands and hooks: formats of `list`, the result of `check`, variables."""
