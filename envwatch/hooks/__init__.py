"""Hooks: messages to programs and web services when something happens to an environment.

`decision` says which hook fires for what and when, `message` what is sent; both are pure. `command` and `webhook`
deliver one message, and `runner` does so one after the other, in limited time. Must not know settings, the screen, or
where outcomes come from.
"""
