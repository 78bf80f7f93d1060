"""Recorded history: a file of polls, moments and events for each day, and recordings in the same format."""
