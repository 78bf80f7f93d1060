"""The terminal: the App's base, driver, input, frames, escape sequences, and every use of Textual's private parts.

Must not know what is shown.
"""
