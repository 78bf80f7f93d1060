"""The values that every other package uses: environment, page, outcome, clock, limits, clean text, times.

Decides nothing about an environment and imports nothing else of envwatch.
"""
