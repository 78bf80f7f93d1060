"""The values of all packages: environment, page, outcome, clock, limits, clean text, times.

Decides nothing about an environment, and imports no further package of envwatch.
"""
