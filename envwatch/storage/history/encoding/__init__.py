"""Moments and events as bytes, and back: exact, small, and checked.

Pure: no file, no database, no clock. Where the bytes are kept is decided one package up.
"""
