"""Encoding of moments and events as bytes: exact, small, and checked when read."""
