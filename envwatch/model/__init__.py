"""The values that all other packages use: environment, page, outcome, clock, limits, clean text, times.

Decides nothing about an environment, does no I/O, and must not import any other package of envwatch.
"""
