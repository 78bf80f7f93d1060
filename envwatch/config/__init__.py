"""Settings and their origins, profiles, credentials.

Only reads; must not know the screen.
"""
