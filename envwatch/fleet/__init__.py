"""The state machine: an outcome goes in, the next state and the events between the two come out.

Pure. Must not know queries, views, sources, storage or the screen; has no clock, sleep or randomness of its own.
"""
