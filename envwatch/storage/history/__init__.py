"""The history of what was known: one file of polls, moments and events for each day, and recordings of the same form.

Must not know how anything of it is shown.
"""
