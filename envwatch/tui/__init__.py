"""The dashboard in Textual: app, screens, widgets, terminal.

Shows the state that it receives. Must not fetch, read settings, or decide what a listing means.
"""
