"""Verdicts: which environments are up, late or down, and since when."""
