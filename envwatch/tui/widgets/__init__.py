"""The parts of a screen: state comes down to them, messages go up.

Must not know the screens or the app.
"""
