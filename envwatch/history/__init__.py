"""Recorded time: writing, reading, and the state at a recorded moment.

A *past* is the reader of one profile's recorded time: `Past` in `past.py`, `StoredPast` on a disk.
"""
