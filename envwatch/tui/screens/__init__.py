"""The screens and dialogs, and the actions on them.

Must not know the app.
"""
