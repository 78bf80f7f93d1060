"""The output of commands and hooks."""
