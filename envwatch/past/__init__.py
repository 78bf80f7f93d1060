"""Recorded time: what earlier runs knew, the hours of a day, and the state at an earlier moment.

Pure. Must not know how moments are stored, nor how the screen shows them.
"""
