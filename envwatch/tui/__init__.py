"""The dashboard in Textual: the app, its terminal, widgets and screens.

Draws the state that it is given. Must not fetch, and must not decide what a listing means.
"""
