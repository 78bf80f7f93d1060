"""Where outcomes come from: the poller, the Letta API over HTTP (`letta`), and several targets as one stream.

Must not interpret a listing (that is `profile_state`), and must not know the screen.
"""
