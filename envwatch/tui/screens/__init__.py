"""The dashboard, the screens and dialogs over it, and their actions.

Must not know the app.
"""
