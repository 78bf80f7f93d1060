"""Settings with origins, profiles, and credentials. Only reads.

No message repeats a value, which may be a misplaced key.
"""
