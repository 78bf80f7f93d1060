"""Going back in time on the screen: where a key leads, which moments are read, what the screen shows.

Must not know widgets.
"""
