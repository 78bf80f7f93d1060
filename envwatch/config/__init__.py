"""Settings with their origins, profiles, and credentials.

Only reads. Must not know the screen; imports neither Textual nor Rich.
"""
