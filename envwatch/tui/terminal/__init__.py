"""The terminal: driver, input, frames, escape sequences.

Every use of private parts of Textual stands here. Must not know what is shown.
"""
