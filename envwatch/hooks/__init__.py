"""Hooks: messages to programs and web services about environments.

`decision` selects hooks, `message` builds messages, `command` and `webhook` deliver a message, `runner` has the queues.
"""
