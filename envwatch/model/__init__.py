"""Values that all packages use: environment, page, outcome, clock, limits, clean text, times.

Imports no further package of envwatch.
"""
