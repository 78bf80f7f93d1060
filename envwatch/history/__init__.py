"""Recorded time: writing, reading, and the state at a recorded moment.

A *past* reads a profile's records; see `past.Past`.
"""
