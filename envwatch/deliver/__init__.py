"""Hooks: messages to programs and web services about environments."""
