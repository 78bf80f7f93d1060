"""Hooks: messages to programs and web services when something happens to an environment.

`decision` says which hook fires for what and when, `message` what is sent; both are pure. `command` and `webhook`
deliver one message; `runner` has the queues of all hooks. Must know neither the settings nor the screen.
"""
