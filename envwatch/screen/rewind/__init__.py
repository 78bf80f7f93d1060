"""Recorded time on the screen."""
