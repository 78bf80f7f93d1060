"""Where outcomes come from: when to poll, and the Letta API over HTTP in `letta`.

Must not judge what a listing means, and must not know the screen.
"""
