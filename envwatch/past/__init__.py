"""Recorded time: earlier runs, the hours of a day, and the state at an earlier moment."""
