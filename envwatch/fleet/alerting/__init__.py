"""What needs a person: incidents, acknowledgements, silences and the alert policy.

Pure. Must not know hooks, files or the screen.
"""
